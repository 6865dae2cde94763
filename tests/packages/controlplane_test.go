package packages

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startControlPlane starts an API server of this test's own and gives the path of its kubeconfig.
func startControlPlane(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	command := exec.Command(root+"/tests/controlplane/run.sh", "--dir", folder, "--exit-with-parent")
	command.Stderr = os.Stderr
	// The script becomes the server; what it starts is in one group.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGTERM)
		_ = command.Wait()
	})
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- true
			}
		}
		close(ready)
	}()
	select {
	case is := <-ready:
		if !is {
			t.Fatal("the API server ended before it was ready")
		}
	case <-time.After(20 * time.Minute): // It may be built first.
		t.Fatal("the API server was not ready in time")
	}
	return folder + "/kubeconfig"
}

// kubectl runs kubectl at a server; it has to succeed.
func kubectl(t *testing.T, kubeconfig string, arguments ...string) string {
	t.Helper()
	return run(t, "kubectl", append([]string{"--kubeconfig", kubeconfig}, arguments...)...)
}

// eventually waits for a condition, which is looked at twice a second.
func eventually(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// ours gives the path of a built program of ours. MODELFLEET_BIN_DIR names the folder.
func ours(t *testing.T, program string) string {
	t.Helper()
	folder := os.Getenv("MODELFLEET_BIN_DIR")
	if folder == "" {
		folder = root + "/target/debug"
	}
	path := folder + "/" + program
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built: cargo build --workspace --bins, or set MODELFLEET_BIN_DIR", path)
	}
	return path
}

// asToken runs the plugin with a token in the place of the admin's certificate, and gives what it printed and its exit code.
func asToken(t *testing.T, kubeconfig, token string, arguments ...string) (string, int) {
	t.Helper()
	own := t.TempDir() + "/kubeconfig"
	if err := os.WriteFile(own, []byte(read(t, kubeconfig)), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, own, "config", "set-credentials", "account", "--token="+token)
	kubectl(t, own, "config", "set-context", "--current", "--user=account")
	command := exec.Command(ours(t, "kubectl-modelfleet"), append(arguments, "--kubeconfig", own)...)
	out, err := command.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}
