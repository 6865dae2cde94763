package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool gives the path of a tool that go.mod pins.
func tool(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "./tools.sh", name))
}

// release runs the release script over programs that are there already, and gives its folder and the public key.
func release(t *testing.T, programs, key string) string {
	t.Helper()
	helm, err := helmPath()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir() + "/release"
	run(t, root+"/packaging/release.sh", "--key", key, "--out", out, "--bin-dir", programs, "--helm", helm)
	return out
}

// What a release ships, made of our programs, and installed by krew from its archive.
func TestAReleaseIsWholeSignedReproducibleAndInstalledByKrew(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs built programs")
	}
	plugin, folder := ours(t, "kubectl-modelfleet"), t.TempDir()
	// The plugin is ours, which krew installs and starts; small programs stand for the other two, whose images have a test of their own.
	programs := t.TempDir()
	run(t, "strip", "-o", programs+"/kubectl-modelfleet", plugin)
	for _, name := range []string{"modelfleet-controller", "modelfleet-agent"} {
		run(t, "cp", which(t, "id"), programs+"/"+name)
	}
	key, public := folder+"/release.key", folder+"/release.pub"
	run(t, plugin, "keygen", "--no-password", "--secret-key", key, "--public-key", public)
	out := release(t, programs, key)

	said := run(t, "minisign", "-Vm", out+"/SHA256SUMS", "-p", public)
	if !strings.Contains(said, "modelfleet release version=0.1.0") {
		t.Errorf("the signature says: %s", said)
	}
	sums := in(t, out, "sha256sum", "--check", "--strict", "SHA256SUMS")
	files, _ := filepath.Glob(out + "/*")
	// The sums and their signature do not name themselves.
	if listed := strings.Count(sums, ": OK"); listed != len(files)-2 || listed < 3*4+2 {
		t.Errorf("%d of %d files have a checksum:\n%s", listed, len(files), sums)
	}
	again := release(t, programs, key)
	if read(t, out+"/SHA256SUMS") != read(t, again+"/SHA256SUMS") {
		t.Errorf("two releases of the same programs differ:\n%s\n%s", read(t, out+"/SHA256SUMS"), read(t, again+"/SHA256SUMS"))
	}
	path := out + "/modelfleet.yaml"
	manifest := read(t, path)

	if strings.Contains(manifest, "VERSION") || !strings.Contains(manifest, "version: v0.1.0") {
		t.Error(manifest)
	}
	run(t, tool(t, "validate-krew-manifest"), "-manifest", path, "-skip-install")
	archive, _ := filepath.Glob(out + "/kubectl-modelfleet-v0.1.0-linux-*[4].tar.gz")
	if len(archive) != 1 {
		t.Fatalf("archives: %v", archive)
	}
	home := t.TempDir()
	if said, err := krew(t, home, "install", "--manifest="+path, "--archive="+archive[0]); err != nil {
		t.Fatalf("krew: %v: %s", err, said)
	}
	command := exec.Command("kubectl", "modelfleet", "--version")
	command.Env = append(os.Environ(), "PATH="+home+"/bin:"+filepath.Dir(which(t, "kubectl"))+":/usr/bin:/bin")
	if said, err := command.CombinedOutput(); err != nil || !strings.Contains(string(said), "0.1.0") {
		t.Errorf("%v: %s", err, said)
	}
	if err := os.WriteFile(archive[0], append([]byte(read(t, archive[0])), 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := krew(t, t.TempDir(), "install", "--manifest="+path, "--archive="+archive[0]); err == nil {
		t.Errorf("krew installs an archive with another checksum: %s", said)
	}
}

// The manifest in the tree, before the release script has put numbers in, by krew's own rules.
func TestTheKrewManifestFollowsKrewsRules(t *testing.T) {
	filled := strings.ReplaceAll(read(t, root+"/packaging/krew/modelfleet.yaml"), "VERSION", "v0.1.0")
	filled = strings.ReplaceAll(filled, "SHA256-linux-amd64", strings.Repeat("0", 64))
	path := t.TempDir() + "/modelfleet.yaml"
	if err := os.WriteFile(path, []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	validator := tool(t, "validate-krew-manifest")
	run(t, validator, "-manifest", path, "-skip-install")
	wrong := strings.Replace(filled, "name: modelfleet", "name: other", 1)
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(validator, "-manifest", path, "-skip-install").CombinedOutput(); err == nil {
		t.Errorf("a wrong name was accepted: %s", out)
	}
}

func krew(t *testing.T, home string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.Command(tool(t, "krew"), arguments...)
	command.Env = append(os.Environ(), "KREW_ROOT="+home, "KREW_NO_UPGRADE_CHECK=1")
	out, err := command.CombinedOutput()
	return string(out), err
}

func which(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// in runs a program in a folder.
func in(t *testing.T, folder, name string, arguments ...string) string {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Dir = folder
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}
