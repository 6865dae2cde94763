// Package packages tries what people install: the Helm chart with the real Helm, the image, the krew manifest, and the steps of the
// CI templates. `go test -short` leaves out what needs an API server or built programs.
package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The root of the source tree.
const root = "../.."

const chart = root + "/packaging/helm/modelfleet"

var helmPath = sync.OnceValues(func() (string, error) {
	command := exec.Command("./tools.sh", "helm")
	command.Stderr = os.Stderr
	out, err := command.Output()
	return strings.TrimSpace(string(out)), err
})

// helm runs Helm with folders of its own, and gives what it printed and whether it succeeded.
func helm(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	path, err := helmPath()
	if err != nil {
		t.Fatalf("build helm: %v", err)
	}
	command := exec.Command(path, arguments...)
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	var said, notes strings.Builder
	command.Stdout, command.Stderr = &said, &notes
	if err := command.Run(); err != nil {
		return said.String() + notes.String(), err
	}
	return said.String(), nil
}

// mustHelm runs Helm, which has to succeed.
func mustHelm(t *testing.T, arguments ...string) string {
	t.Helper()
	said, err := helm(t, arguments...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(arguments, " "), err, said)
	}
	return said
}

// run runs a program, which has to succeed, and gives its standard output.
func run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	command := exec.Command(name, arguments...)
	var notes strings.Builder
	command.Stderr = &notes
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, out, notes.String())
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	bytes, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes)
}
