package packages

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const rolloutYaml = `apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: { name: pump-anomaly-1-0-0 }
spec: { model: pump-anomaly, version: 1.0.0 }
`

// earlierChart is the chart as an earlier release would have been: another number, a definition that lacks a field of today, and one
// replica.
func earlierChart(t *testing.T) string {
	t.Helper()
	folder := t.TempDir() + "/modelfleet"
	// Links become files.
	run(t, "cp", "--recursive", "--dereference", chart, folder)
	edit(t, folder+"/Chart.yaml", "version: 0.1.0", "version: 0.0.9", 2)
	edit(t, folder+"/values.yaml", "\nreplicas: 2", "\nreplicas: 1", 1)
	edit(t, folder+"/files/crds/rollouts.modelfleet.io.yaml", "              setAside:", "              leftOut:", 1)
	return folder
}

func edit(t *testing.T, path, old, new string, times int) {
	t.Helper()
	text := read(t, path)
	// appVersion ends in the same words as version.
	if strings.Count(strings.ReplaceAll(text, "appVersion", "version"), old) < times {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The life of a release on a real API server: an earlier chart, the present one, its removal, and a new start.
func TestAReleaseIsInstalledUpgradedRemovedAndInstalledAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs an API server")
	}
	kubeconfig := startControlPlane(t)
	release := func(arguments ...string) string {
		return mustHelm(t, append(arguments, "--namespace", "modelfleet-system", "--kubeconfig", kubeconfig)...)
	}
	field := func(path string, object ...string) string {
		return kubectl(t, kubeconfig, append([]string{"get", "-o", "jsonpath={" + path + "}"}, object...)...)
	}
	const schema = ".spec.versions[0].schema.openAPIV3Schema.properties.spec.properties"
	replicas := func() string {
		return field(".spec.replicas", "deployment/modelfleet-controller", "-n", "modelfleet-system")
	}

	release("install", "modelfleet", earlierChart(t), "--create-namespace")
	if field(schema+".leftOut.type", "crd/rollouts.modelfleet.io") != "array" || replicas() != "1" {
		t.Fatal("the earlier chart was not installed")
	}
	apply(t, kubeconfig, "default", rolloutYaml)

	release("upgrade", "modelfleet", chart)
	if field(schema+".setAside.type", "crd/rollouts.modelfleet.io") != "array" ||
		field(schema+".leftOut.type", "crd/rollouts.modelfleet.io") != "" {
		t.Error("the upgrade left the old definition")
	}
	if replicas() != "2" {
		t.Error("the upgrade left the old number of replicas")
	}
	if said := release("history", "modelfleet"); !strings.Contains(said, "modelfleet-0.0.9") || !strings.Contains(said, "modelfleet-0.1.0") {
		t.Error(said)
	}
	t.Run("back to the release before, and again", func(t *testing.T) {
		release("rollback", "modelfleet")
		if field(schema+".leftOut.type", "crd/rollouts.modelfleet.io") != "array" || replicas() != "1" {
			t.Error("the rollback left the new definition")
		}
		release("upgrade", "modelfleet", chart)
	})
	t.Run("a second one for another namespace", func(t *testing.T) {
		own := []string{"--namespace", "second", "--kubeconfig", kubeconfig}
		mustHelm(t, append([]string{"install", "second", chart, "--create-namespace", "--set", "crds.enabled=false", "--set",
			"rbac.aggregate=false", "--set", "fullnameOverride=second", "--set", "namespaces={plant-b}"}, own...)...)
		mustHelm(t, append([]string{"uninstall", "second"}, own...)...)
	})
	t.Run("everything at once", func(t *testing.T) {
		// The server refuses what has a wrong form, also of fields that no test reads. It knows no objects of the Prometheus operator.
		release("upgrade", "modelfleet", chart, "--values", "testdata/everything.yaml", "--set", "metrics.rules.enabled=false",
			"--set", "metrics.serviceMonitor.enabled=false", "--set", "metrics.service=true", "--dry-run=server")
	})
	t.Run("the demo", func(t *testing.T) {
		kubectl(t, kubeconfig, "create", "namespace", "plant-a")
		kubectl(t, kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-n", "plant-a", "-f", root+"/manifests/demo/pumps.yaml")
	})
	t.Run("its test pod may look, and no more", func(t *testing.T) { installCheck(t, kubeconfig) })

	release("uninstall", "modelfleet")
	if left := kubectl(t, kubeconfig, "get", "all,pdb,networkpolicy,role", "-n", "modelfleet-system", "-o", "name"); left != "" {
		t.Errorf("the removal left %s", left)
	}
	if field(".spec.version", "rollout/pump-anomaly-1-0-0") != "1.0.0" {
		t.Error("the removal took the objects of users along")
	}
	release("install", "modelfleet", chart)
	release("upgrade", "modelfleet", chart, "--set", "crds.keep=false")
	release("uninstall", "modelfleet")
	eventually(t, "without keep the definitions go", time.Minute, func() bool {
		return kubectl(t, kubeconfig, "get", "crds", "-o", "name") == ""
	})

	// What kustomize installed, Helm takes over, and the pods stay.
	kubectl(t, kubeconfig, "apply", "--server-side", "-k", root+"/manifests")
	before := field(".metadata.uid", "deployment/modelfleet-controller", "-n", "modelfleet-system")
	if said, err := helm(t, "install", "modelfleet", chart, "--namespace", "modelfleet-system", "--kubeconfig", kubeconfig); err == nil {
		t.Errorf("Helm took over unasked: %s", said)
	}
	release("upgrade", "--install", "modelfleet", chart, "--take-ownership", "--force-conflicts")
	if field(".metadata.uid", "deployment/modelfleet-controller", "-n", "modelfleet-system") != before {
		t.Error("the Deployment was made anew")
	}
}

func apply(t *testing.T, kubeconfig, namespace, yaml string) {
	t.Helper()
	command := exec.Command("kubectl", "--kubeconfig", kubeconfig, "apply", "-n", namespace, "-f", "-")
	command.Stdin = strings.NewReader(yaml)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// installCheck runs what the chart's test pod runs, as its service account; nodes, which would start the pod, are not there.
func installCheck(t *testing.T, kubeconfig string) {
	all := render(t)
	pod := all["Pod/modelfleet-controller-check"]
	var arguments []string
	for _, word := range at(pod, "spec", "containers").([]any)[0].(map[string]any)["args"].([]any) {
		arguments = append(arguments, word.(string))
	}
	for name, one := range all {
		if strings.HasSuffix(name, "/modelfleet-controller-check") && one["kind"] != "Pod" {
			text := marshal(t, one)
			apply(t, kubeconfig, "modelfleet-system", text)
			kind, name := strings.ToLower(one["kind"].(string)), "modelfleet-controller-check"
			// Helm deletes them when the pod has succeeded.
			t.Cleanup(func() { kubectl(t, kubeconfig, "delete", kind, name, "-n", "modelfleet-system") })
		}
	}
	check := func(more ...string) (string, int) {
		token := strings.TrimSpace(kubectl(t, kubeconfig, "create", "token", "modelfleet-controller-check", "-n", "modelfleet-system"))
		return asToken(t, kubeconfig, token, append(arguments, more...)...)
	}
	said, code := check()
	if code != 1 || strings.Count(said, "ok       The definition of ") != 3 ||
		!strings.Contains(said, "MISSING  Deployment modelfleet-controller has 0 of 2 replicas ready") ||
		!strings.Contains(said, "MISSING  No replica has led yet") ||
		strings.Count(said, "unseen   Secret ") != 2 || strings.Contains(said, "You may") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if said := withSecrets(t, kubeconfig); strings.Count(said, "ok       Secret ") != 2 || strings.Count(said, "ok       You may ") != 5 {
		t.Errorf("the admin is told:\n%s", said)
	}
	kubectl(t, kubeconfig, "patch", "rollout", "pump-anomaly-1-0-0", "--subresource=status", "--type=merge", "-p",
		`{"status":{"conditions":[{"type":"Progressing","status":"True","reason":"BrokerUnavailable","message":"The broker is away.",`+
			`"lastTransitionTime":"2026-08-01T12:00:00Z"}]}}`)
	if said := withSecrets(t, kubeconfig); !strings.Contains(said, "MISSING  Rollout pump-anomaly-1-0-0 waits for the broker: The broker is away.") {
		t.Errorf("the admin is told:\n%s", said)
	}
	// What the controller and the kubelet would write.
	kubectl(t, kubeconfig, "patch", "deployment", "modelfleet-controller", "-n", "modelfleet-system", "--subresource=status",
		"--type=merge", "-p", `{"status":{"replicas":2,"readyReplicas":2}}`)
	apply(t, kubeconfig, "modelfleet-system", `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"modelfleet-controller"},
		"spec":{"holderIdentity":"modelfleet-controller-0","renewTime":"`+time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")+`"}}`)
	if said, code = check(); code != 0 || !strings.Contains(said, "modelfleet-controller-0 leads") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
}
