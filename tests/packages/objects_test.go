package packages

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// One object of a manifest.
type object = map[string]any

// objects gives the objects of a stream of YAML documents by kind and name. Two of one name are an error.
func objects(t *testing.T, stream string) map[string]object {
	t.Helper()
	found := map[string]object{}
	for _, document := range strings.Split("\n"+stream, "\n---\n") {
		var one object
		if err := yaml.Unmarshal([]byte(document), &one); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(one) == 0 {
			continue
		}
		name := fmt.Sprintf("%s/%s", one["kind"], at(one, "metadata", "name"))
		if _, twice := found[name]; twice {
			t.Fatalf("%s is there twice", name)
		}
		found[name] = one
	}
	return found
}

// at walks down maps; nil where there is nothing.
func at(value any, path ...string) any {
	for _, step := range path {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = fields[step]
	}
	return value
}

// What Helm or kustomize alone writes, and what no object behaves by.
var ownMarks = []string{
	"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of",
	"helm.sh/chart", "helm.sh/resource-policy",
}

// withoutMarks takes the marks off an object's own labels and annotations.
func withoutMarks(one object) object {
	metadata := one["metadata"].(map[string]any)
	for _, field := range []string{"labels", "annotations"} {
		marks, ok := metadata[field].(map[string]any)
		if !ok {
			continue
		}
		for _, mark := range ownMarks {
			delete(marks, mark)
		}
		if len(marks) == 0 {
			delete(metadata, field)
		}
	}
	return one
}

// pods gives the pod specs of all workloads, by object.
func pods(all map[string]object) map[string]any {
	found := map[string]any{}
	for name, one := range all {
		switch one["kind"] {
		case "Deployment", "StatefulSet", "DaemonSet", "Job":
			found[name] = at(one, "spec", "template", "spec")
		case "Pod":
			found[name] = one["spec"]
		}
	}
	return found
}

func marshal(t *testing.T, one object) string {
	t.Helper()
	text, err := yaml.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
