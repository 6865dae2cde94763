package packages

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func render(t *testing.T, settings ...string) map[string]object {
	t.Helper()
	arguments := append([]string{"template", "modelfleet", chart, "--namespace", "modelfleet-system"}, settings...)
	return objects(t, mustHelm(t, arguments...))
}

func TestHelmsLintFindsNothing(t *testing.T) {
	said := mustHelm(t, "lint", "--strict", chart)
	if !strings.Contains(said, "0 chart(s) failed") {
		t.Fatal(said)
	}
}

// The chart's defaults and `kubectl apply -k manifests` install the same objects, field by field.
func TestTheChartInstallsWhatKustomizeInstalls(t *testing.T) {
	sameObjects(t, render(t, "--skip-tests"), objects(t, run(t, "kubectl", "kustomize", root+"/manifests")))
}

// So do its options and kustomize's components.
func TestOptionsOfTheChartAreComponentsOfKustomize(t *testing.T) {
	byHelm := render(t, "--skip-tests", "--set", "devices.enabled=true", "--set", "trust.configMapName=modelfleet-trust")
	// One file lies outside the overlay's own folder.
	byKustomize := objects(t, run(t, "kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", "testdata/components"))
	const deployment = "Deployment/modelfleet-controller"
	for _, all := range []map[string]object{byHelm, byKustomize} {
		// Patches put what they add where they like.
		all[deployment] = byName(all[deployment]).(object)
	}
	if len(byKustomize) < 19 {
		t.Fatalf("kustomize gives only %d objects", len(byKustomize))
	}
	sameObjects(t, byHelm, byKustomize)
}

// byName makes maps of lists whose items have names.
func byName(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for field, inner := range value {
			value[field] = byName(inner)
		}
	case []any:
		named := map[string]any{}
		for _, item := range value {
			if name, is := at(item, "name").(string); is {
				named[name] = byName(item)
			}
		}
		if len(named) == len(value) {
			return named
		}
	}
	return value
}

func sameObjects(t *testing.T, byHelm, byKustomize map[string]object) {
	t.Helper()
	// Helm makes the release's namespace itself (--create-namespace).
	if _, there := byKustomize["Namespace/modelfleet-system"]; !there {
		t.Fatal("kustomize makes no namespace")
	}
	delete(byKustomize, "Namespace/modelfleet-system")
	if len(byKustomize) < 13 {
		t.Fatalf("kustomize gives only %d objects", len(byKustomize))
	}
	for name, wanted := range byKustomize {
		given, there := byHelm[name]
		if !there {
			t.Errorf("the chart lacks %s", name)
			continue
		}
		compare(t, name, withoutMarks(wanted), withoutMarks(given))
	}
	for name := range byHelm {
		if _, there := byKustomize[name]; !there {
			t.Errorf("the chart has %s, and manifests/kustomization.yaml does not", name)
		}
	}
}

// compare names the deepest fields that differ.
func compare(t *testing.T, path string, wanted, given any) {
	t.Helper()
	left, leftMap := wanted.(map[string]any)
	right, rightMap := given.(map[string]any)
	if leftMap && rightMap {
		for field := range right {
			if _, there := left[field]; !there {
				t.Errorf("%s.%s is only in the chart", path, field)
			}
		}
		for field, value := range left {
			compare(t, path+"."+field, value, right[field])
		}
		return
	}
	if !reflect.DeepEqual(wanted, given) {
		t.Errorf("%s: kustomize has %v, the chart has %v", path, wanted, given)
	}
}

// What a user gets is what the controller was built with, byte for byte, also from the packed chart.
func TestThePackedChartHasTheGeneratedDefinitions(t *testing.T) {
	folder := t.TempDir()
	mustHelm(t, "package", chart, "--destination", folder)
	archives, _ := filepath.Glob(folder + "/modelfleet-*.tgz")
	if len(archives) != 1 {
		t.Fatalf("archives: %v", archives)
	}
	run(t, "tar", "-xzf", archives[0], "-C", folder)
	generated, _ := filepath.Glob(root + "/manifests/crds/*.yaml")
	packed, _ := filepath.Glob(folder + "/modelfleet/files/crds/*.yaml")
	if len(generated) < 3 || len(packed) != len(generated) {
		t.Fatalf("generated %v, packed %v", generated, packed)
	}
	for _, path := range generated {
		if read(t, path) != read(t, folder+"/modelfleet/files/crds/"+filepath.Base(path)) {
			t.Errorf("%s differs in the packed chart", path)
		}
	}
	if _, err := os.Stat(folder + "/modelfleet/files/monitoring/tests"); err == nil {
		t.Error("the packed chart has the tests of the alert rules")
	}
	fromArchive := mustHelm(t, "template", "modelfleet", archives[0], "--namespace", "modelfleet-system")
	fromFolder := mustHelm(t, "template", "modelfleet", chart, "--namespace", "modelfleet-system")
	if fromArchive != fromFolder {
		t.Error("the packed chart renders other objects than the folder")
	}
}

func TestDefinitionsAreKeptOrNotOrLeftOut(t *testing.T) {
	const rollouts = "CustomResourceDefinition/rollouts.modelfleet.io"
	policy := func(all map[string]object) any {
		return at(all[rollouts], "metadata", "annotations", "helm.sh/resource-policy")
	}
	if got := policy(render(t)); got != "keep" {
		t.Errorf("by default the policy is %v", got)
	}
	if got := policy(render(t, "--set", "crds.keep=false")); got != nil {
		t.Errorf("with crds.keep=false the policy is %v", got)
	}
	if _, there := render(t, "--set", "crds.enabled=false")[rollouts]; there {
		t.Error("with crds.enabled=false there are definitions")
	}
}

// A budget of one replica would keep its node from ever being drained.
func TestOneReplicaHasNoDisruptionBudget(t *testing.T) {
	const budget = "PodDisruptionBudget/modelfleet-controller"
	if render(t, "--set", "replicas=1")[budget] != nil || render(t, "--set", "replicas=2")[budget] == nil {
		t.Error("the budget does not go by the number of replicas")
	}
}

// The schema names the field that is wrong.
func TestTheSchemaRefusesMistakes(t *testing.T) {
	for setting, word := range map[string]string{
		"replica=3":                             "replica",
		"replicas=many":                         "replicas",
		"broker.url=broker:8884":                "url",
		"broker.url=mqtt://user:secret@broker":  "url",
		"planKey.secretName=":                   "secretName",
		"image.digest=sha256:12":                "digest",
		"artifactKeys[0]=untrusted comment":     "artifactKeys",
		"enrolment.keys[0]=short":               "enrolment",
		"namespaces[0]=Plant_A":                 "namespaces",
		"metrics.serviceMonitor.interval=often": "interval",
		"planKey.value=3f3f":                    "planKey",
		"broker.password=secret":                "broker",
	} {
		said, err := helm(t, "template", "modelfleet", chart, "--set-string", setting)
		if setting == "replicas=many" || err != nil {
			if err == nil || !strings.Contains(said, word) {
				t.Errorf("%s: %v: %s", setting, err, said)
			}
			continue
		}
		t.Errorf("%s was accepted", setting)
	}
}

// Everything that can be turned on, at once.
func TestEveryOption(t *testing.T) {
	all := render(t, "--values", "testdata/everything.yaml")
	for name, one := range all {
		if one["kind"] == "Secret" {
			t.Errorf("%s: secrets are made by their owner and named in the values", name)
		}
	}
	confined(t, all)
	deployment := all["Deployment/modelfleet-controller"]
	pod := at(deployment, "spec", "template", "spec")
	container := at(pod, "containers").([]any)[0]
	text, _ := yaml.Marshal(container)
	for _, word := range []string{
		"registry.example.com/modelfleet-controller@sha256:", "--namespace=plant-a", "--artifact-key=RW", "--require-enrolled",
		"--enrolment-key=", "--fleet-devices-max=5000", "name: store-login", "/etc/modelfleet/broker-client/tls.crt",
		"/etc/modelfleet/trust/trust.json", "value: http://proxy.example.com:3128",
	} {
		if !strings.Contains(string(text), word) {
			t.Errorf("the container has no %s:\n%s", word, text)
		}
	}
	if at(pod, "priorityClassName") != "system-cluster-critical" || at(deployment, "spec", "replicas") != float64(3) {
		t.Errorf("priority class %v, replicas %v", at(pod, "priorityClassName"), at(deployment, "spec", "replicas"))
	}
	for _, name := range []string{
		"Service/modelfleet-controller", "ServiceMonitor/modelfleet-controller", "StatefulSet/modelfleet-broker",
		"Service/modelfleet-broker", "PodDisruptionBudget/modelfleet-controller", "NetworkPolicy/modelfleet-controller",
		"ConfigMap/modelfleet-rollouts-dashboard", "Pod/modelfleet-controller-check",
	} {
		if all[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	// The rules are those of manifests/monitoring, whose templates are Prometheus's and not Helm's.
	for _, file := range []string{"alert-rules", "recording-rules", "burn-rate-rules"} {
		var source object
		if err := yaml.Unmarshal([]byte(read(t, root+"/manifests/monitoring/"+file+".yaml")), &source); err != nil {
			t.Fatal(err)
		}
		compare(t, file, source, at(all["PrometheusRule/modelfleet-"+file], "spec"))
	}
}

// confined sees that no pod runs as root, has more rights than it needs, or takes as much memory as it likes.
func confined(t *testing.T, all map[string]object) {
	t.Helper()
	for name, pod := range pods(all) {
		if at(pod, "securityContext", "runAsNonRoot") != true {
			t.Errorf("%s may run as root", name)
		}
		for _, container := range at(pod, "containers").([]any) {
			if at(container, "securityContext", "allowPrivilegeEscalation") != false ||
				at(container, "securityContext", "readOnlyRootFilesystem") != true {
				t.Errorf("%s: %v is not confined", name, at(container, "name"))
			}
			if at(container, "resources", "limits", "memory") == nil {
				t.Errorf("%s: %v has no limit of memory", name, at(container, "name"))
			}
		}
	}
}

func TestThePodsOfTheDemoAreConfined(t *testing.T) {
	all := objects(t, read(t, root+"/manifests/demo/pumps.yaml"))
	if len(pods(all)) != 2 {
		t.Fatalf("%d workloads", len(pods(all)))
	}
	confined(t, all)
}
