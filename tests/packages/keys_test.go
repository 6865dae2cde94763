package packages

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The folder that `install --keys` makes is all that a broker with our settings needs: it knows the controller and each device by
// their passwords and the certificate, and lets each write its own topics only.
func TestTheBrokerTakesTheKeysThatWereMade(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs built programs")
	}
	keys := t.TempDir() + "/keys"
	run(t, ours(t, "kubectl-modelfleet"), "install", "--keys", keys, "-n", "plant-a", "--model", "pump-anomaly",
		"--device", "pump-001", "--device", "pump-002", "--broker-host", "localhost", "--broker-host", "127.0.0.1")
	run(t, "cp", root+"/manifests/broker/acl-controllers", keys)
	devices, controllers := startBroker(t, keys)
	publish := func(port int, user, password, topic string) string {
		command := exec.Command("mosquitto_pub", "-h", "localhost", "-p", fmt.Sprint(port), "--cafile", keys+"/ca.crt", "-u", user, "-P",
			password, "-V", "mqttv5", "-q", "1", "-t", topic, "-m", "x", "-d")
		out, _ := command.CombinedOutput()
		return string(out)
	}
	password := func(file string) string { return strings.TrimSpace(read(t, keys+"/"+file)) }
	own := func(device string) string {
		// The user's line, and the first topic of its own below it.
		found := regexp.MustCompile(`(?s)user ` + device + `\n.*?topic write (\S+presence)`).FindStringSubmatch(read(t, keys+"/acl-devices"))
		if found == nil {
			t.Fatalf("no rules of %s:\n%s", device, read(t, keys+"/acl-devices"))
		}
		return found[1]
	}
	// 16: taken, and no client has subscribed to it. 135: not authorised.
	accepted, denied, shut := "RC:16)", "RC:135)", "CONNACK (135)"
	for _, one := range []struct {
		what           string
		port           int
		user, password string
		topic, answer  string
	}{
		{"a device writes its presence", devices, "pump-001", password("device-passwords/pump-001.password"), own("pump-001"), accepted},
		{"a device writes another's", devices, "pump-001", password("device-passwords/pump-001.password"), own("pump-002"), denied},
		{"a device with another's password", devices, "pump-001", password("device-passwords/pump-002.password"), own("pump-001"), shut},
		{"a device at the controllers' port", controllers, "pump-001", password("device-passwords/pump-001.password"), own("pump-001"), shut},
		{"the controller writes a plan", controllers, "modelfleet-controller", password("controller.password"), "mf/1/plant-a/plan/pump-anomaly", accepted},
	} {
		said := publish(one.port, one.user, one.password, one.topic)
		if !strings.Contains(said, one.answer) {
			t.Errorf("%s: %s", one.what, said)
		}
	}
	// The authority signed for the names that were given, and for no other.
	if out, err := exec.Command("openssl", "verify", "-CAfile", keys+"/ca.crt", "-verify_hostname", "localhost", keys+"/tls.crt").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command("openssl", "verify", "-CAfile", keys+"/ca.crt", "-verify_hostname", "elsewhere", keys+"/tls.crt").CombinedOutput(); err == nil {
		t.Errorf("it is a certificate for elsewhere: %s", out)
	}
}

// startBroker starts Mosquitto with the settings that we ship, with other paths and ports, and gives the ports of devices and
// controllers.
func startBroker(t *testing.T, keys string) (int, int) {
	t.Helper()
	folder := t.TempDir()
	devices, controllers := freePort(t), freePort(t)
	settings := read(t, root+"/manifests/broker/mosquitto.conf")
	replaced := strings.NewReplacer("/etc/mosquitto/tls/", keys+"/", "/etc/mosquitto/secret/", keys+"/", "/etc/mosquitto/modelfleet/", keys+"/",
		"/var/lib/mosquitto/", folder+"/", "listener 8883", fmt.Sprintf("listener %d 127.0.0.1", devices),
		"listener 8884", fmt.Sprintf("listener %d 127.0.0.1", controllers)).Replace(settings)
	// As root Mosquitto would become another user, who cannot read this folder.
	replaced += "\nuser root\nlog_type all\n"
	file := folder + "/mosquitto.conf"
	if err := os.WriteFile(file, []byte(replaced), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	command := exec.Command(program, "-c", file)
	said, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start Mosquitto (package mosquitto): %v", err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
		}
	}()
	for _, port := range []int{devices, controllers} {
		eventually(t, "Mosquitto listens", 20*time.Second, func() bool {
			connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = connection.Close()
			}
			return err == nil
		})
	}
	return devices, controllers
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// withSecrets makes keys, applies their Secrets, and gives what `install --check` then says to the admin.
func withSecrets(t *testing.T, kubeconfig string) string {
	t.Helper()
	keys := t.TempDir() + "/keys"
	plugin, err := filepath.Abs(ours(t, "kubectl-modelfleet"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, plugin, "install", "--keys", keys)
	kubectl(t, kubeconfig, "apply", "-n", "modelfleet-system", "-f", keys+"/secrets.yaml")
	out, _ := exec.Command(plugin, "install", "--check", "-n", "default", "--kubeconfig", kubeconfig).CombinedOutput()
	return string(out)
}
