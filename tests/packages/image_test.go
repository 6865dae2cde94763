package packages

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const sbomType = "application/vnd.cyclonedx+json"

// assemble makes an image layout of a program and gives its folder and the digest that was printed.
func assemble(t *testing.T, binary string, more ...string) (string, string) {
	t.Helper()
	out := t.TempDir() + "/image"
	digest := run(t, root+"/packaging/image.py", append([]string{binary, out, "--tag", "0.1.0"}, more...)...)
	return out, strings.TrimSpace(digest)
}

// image opens a layout with the reader that registries' own tools use, which compares every digest and size.
func image(t *testing.T, folder, digest string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	found, err := index.Image(hash)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// unpack lays the layers of an image on each other, as a container engine does, and gives the root of it.
func unpack(t *testing.T, one v1.Image) string {
	t.Helper()
	target := t.TempDir()
	layers, err := one.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command("tar", "--extract", "--preserve-permissions", "--directory", target)
		command.Stdin = content
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_ = content.Close()
	}
	// The test's own folder is closed to others, and the image's user has to get in.
	for folder := target; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return target
}

// inImage runs an image's program in its own root, as its user, with nothing of this machine in sight.
func inImage(t *testing.T, one v1.Image, target string, arguments ...string) (string, error) {
	t.Helper()
	config, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" {
		t.Fatalf("the image's user is %q", config.Config.User)
	}
	command := exec.Command("chroot", append([]string{"--userspec=" + config.Config.User, target, config.Config.Entrypoint[0]}, arguments...)...)
	if os.Getuid() != 0 {
		// In a user namespace there is one user only.
		command = exec.Command("unshare", append([]string{"--map-root-user", "chroot", target, config.Config.Entrypoint[0]}, arguments...)...)
	}
	command.Env = config.Config.Env
	out, err := command.CombinedOutput()
	return string(out), err
}

// How images are made, with a small program of this machine that is linked as ours are.
func TestAnImageIsWholeReproducibleAndRuns(t *testing.T) {
	program, err := exec.LookPath("id")
	if err != nil {
		t.Fatal(err)
	}
	sbom := t.TempDir() + "/id.cdx.json"
	if err := os.WriteFile(sbom, []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, digest := assemble(t, program, "--sbom", sbom)
	_, again := assemble(t, program, "--sbom", sbom)
	if digest != again {
		t.Errorf("two images of one program: %s and %s", digest, again)
	}
	if t.Setenv("SOURCE_DATE_EPOCH", "86400"); true {
		if _, other := assemble(t, program, "--sbom", sbom); other == digest {
			t.Error("SOURCE_DATE_EPOCH changes nothing")
		}
	}
	one := image(t, folder, digest)
	target := unpack(t, one)
	if said, err := inImage(t, one, target, "-u"); err != nil || os.Getuid() == 0 && said != "65532\n" {
		t.Errorf("%v: %s", err, said)
	}
	config, _ := one.ConfigFile()
	if base := config.Config.Labels["io.modelfleet.base"]; !strings.Contains(base, "libc6=") {
		t.Errorf("the base is %q", base)
	}
	writable(t, target)
	referrer(t, folder, digest, sbom)
	throughARegistry(t, folder, digest)
}

// throughARegistry pushes the layout to a registry, asks it for what refers to the image, and pulls the image back.
func throughARegistry(t *testing.T, folder, digest string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/modelfleet/id"
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	all, err := name.NewTag(repository + ":0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(all, index); err != nil {
		t.Fatal(err)
	}
	reference, err := name.NewDigest(repository + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	referrers, err := remote.Referrers(reference)
	if err != nil {
		t.Fatal(err)
	}
	found, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Manifests) != 1 {
		t.Fatalf("the registry knows these referrers: %v", found.Manifests)
	}
	one, err := remote.Image(reference.Context().Digest(found.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err := one.RawManifest(); err != nil || !strings.Contains(string(manifest), `"artifactType":"`+sbomType+`"`) {
		t.Errorf("%v: the referrer is %s", err, manifest)
	}
}

// writable sees that the image's user could change no file, and that there is no shell.
func writable(t *testing.T, target string) {
	t.Helper()
	err := filepath.Walk(target, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o022 != 0 && path != target+"/tmp" {
			t.Errorf("%s can be written by others: %s", path, info.Mode())
		}
		if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("%s runs as its owner", path)
		}
		if base := filepath.Base(path); base == "sh" || base == "bash" || base == "busybox" {
			t.Errorf("there is a shell: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// referrer sees that the SBOM is attached to the image by its digest.
func referrer(t *testing.T, folder, digest, sbom string) {
	t.Helper()
	var index struct {
		Manifests []struct{ Digest, ArtifactType string }
	}
	if err := json.Unmarshal([]byte(read(t, folder+"/index.json")), &index); err != nil {
		t.Fatal(err)
	}
	blob := func(digest string) string { return read(t, folder+"/blobs/"+strings.Replace(digest, ":", "/", 1)) }
	for _, one := range index.Manifests {
		if one.ArtifactType != sbomType {
			continue
		}
		var manifest struct {
			ArtifactType string
			Subject      struct{ Digest string }
			Layers       []struct{ Digest, MediaType string }
		}
		if err := json.Unmarshal([]byte(blob(one.Digest)), &manifest); err != nil {
			t.Fatal(err)
		}
		if manifest.Subject.Digest != digest || manifest.ArtifactType != sbomType {
			t.Errorf("the SBOM is of %s", manifest.Subject.Digest)
		}
		if blob(manifest.Layers[0].Digest) != read(t, sbom) {
			t.Error("the attached SBOM is another one")
		}
		return
	}
	t.Error("no SBOM is attached")
}

// Our own programs in their images.
func TestOurProgramsRunInTheirImages(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs built programs")
	}
	sboms := t.TempDir()
	run(t, root+"/packaging/sbom.py", sboms)
	for _, program := range []string{"modelfleet-controller", "modelfleet-agent", "kubectl-modelfleet"} {
		found, _ := filepath.Glob(sboms + "/" + program + "*.json")
		if len(found) != 1 {
			t.Fatalf("SBOMs of %s: %v", program, found)
		}
		// As released: without the names of symbols, which are most of a debug build.
		stripped := t.TempDir() + "/" + program
		run(t, "strip", "-o", stripped, ours(t, program))
		more := []string{"--sbom", found[0]}
		if program == "modelfleet-agent" {
			more = append(more, "--onnxruntime", strings.TrimSpace(run(t, root+"/device-agent/onnxruntime.sh")))
		}
		folder, digest := assemble(t, stripped, more...)
		one := image(t, folder, digest)
		target := unpack(t, one)
		if said, err := inImage(t, one, target, "--version"); err != nil || !strings.Contains(said, program+" 0.1.0") {
			t.Errorf("%s: %v: %s", program, err, said)
		}
		if program == "modelfleet-controller" {
			// It writes where it may and nowhere else.
			if said, err := inImage(t, one, target, "keygen", "--out", "/tmp/plan.key"); err != nil || len(strings.TrimSpace(said)) != 64 {
				t.Errorf("%v: %s", err, said)
			}
			if said, err := inImage(t, one, target, "keygen", "--out", "/plan.key"); err == nil || !strings.Contains(said, "/plan.key") {
				t.Errorf("%v: %s", err, said)
			}
		}
		if program == "modelfleet-agent" {
			onnxRuntimeLoads(t, target)
		}
		referrer(t, folder, digest, found[0])
	}
}

// onnxRuntimeLoads lets the image's own loader look for everything that ONNX Runtime is linked to.
func onnxRuntimeLoads(t *testing.T, target string) {
	t.Helper()
	loaders, _ := filepath.Glob(target + "/lib*/ld-linux*")
	if len(loaders) != 1 {
		t.Fatalf("loaders: %v", loaders)
	}
	loader := strings.TrimPrefix(loaders[0], target)
	out, err := exec.Command("chroot", target, loader, "--list", "/usr/lib/modelfleet/libonnxruntime.so").CombinedOutput()
	if err != nil || strings.Contains(string(out), "not found") || !strings.Contains(string(out), "libstdc++") {
		t.Errorf("%v: %s", err, out)
	}
}
