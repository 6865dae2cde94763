// Package gitops tries what GitOps tools make of our objects: the health checks for Argo CD in the interpreter that Argo CD
// runs them in, and kstatus, which Flux, Helm and kubectl wait with. The objects are those that the shipped code writes
// (controller/model/tests/gitops_statuses.rs).
package gitops

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

const customizations = "../../manifests/argocd/resource_customizations/modelfleet.io"

// What health_test.yaml says, in the form of Argo CD's own tests.
type expectations struct {
	Tests []struct {
		HealthStatus struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"healthStatus"`
		InputPath string `json:"inputPath"`
	} `json:"tests"`
}

// What kstatus says of each file: InProgress, Current or Failed.
var kstatus = map[string]map[string]status.Status{
	"Rollout": {
		// kstatus takes an object without any status for done. The controller writes one at its first look.
		"unwritten":               status.CurrentStatus,
		"new":                     status.InProgressStatus,
		"edited":                  status.InProgressStatus,
		"progressing":             status.InProgressStatus,
		"paused_by_a_person":      status.InProgressStatus,
		"paused_for_an_incident":  status.InProgressStatus,
		"paused_undecided":        status.FailedStatus,
		"paused_without_approval": status.FailedStatus,
		"awaiting_approval":       status.InProgressStatus,
		"rolling_back":            status.InProgressStatus,
		"rolled_back":             status.FailedStatus,
		"aborted":                 status.FailedStatus,
		"succeeded":               status.CurrentStatus,
		"breached":                status.CurrentStatus,
		"invalid":                 status.FailedStatus,
	},
	"ModelVersion": {
		"unwritten":  status.CurrentStatus,
		"registered": status.InProgressStatus,
		"verified":   status.CurrentStatus,
		"production": status.CurrentStatus,
		"archived":   status.CurrentStatus,
		"rejected":   status.FailedStatus,
	},
}

func object(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	// Whole numbers as int64, as clients of the API server have them.
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	return object
}

func value(state *lua.LState, raw any) lua.LValue {
	switch typed := raw.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, inner := range typed {
			table.RawSetString(key, value(state, inner))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, inner := range typed {
			table.Append(value(state, inner))
		}
		return table
	case string:
		return lua.LString(typed)
	case bool:
		return lua.LBool(typed)
	case float64:
		return lua.LNumber(typed)
	case int64:
		return lua.LNumber(typed)
	}
	return lua.LNil
}

func health(t *testing.T, script string, object map[string]any) (string, string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// Argo CD opens the base, table and string libraries, and no others.
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoFile(script); err != nil {
		t.Fatal(err)
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("%s returned no table", script)
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))
}

func TestArgoHealth(t *testing.T) {
	for kind := range kstatus {
		folder := filepath.Join(customizations, kind)
		text, err := os.ReadFile(filepath.Join(folder, "health_test.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var expected expectations
		if err := yaml.UnmarshalStrict(text, &expected); err != nil {
			t.Fatal(err)
		}
		if len(expected.Tests) != len(kstatus[kind]) {
			t.Errorf("%s: %d expectations for %d objects", kind, len(expected.Tests), len(kstatus[kind]))
		}
		for _, test := range expected.Tests {
			found, message := health(t, filepath.Join(folder, "health.lua"), object(t, filepath.Join(folder, test.InputPath)))
			if found != test.HealthStatus.Status || message != test.HealthStatus.Message {
				t.Errorf("%s %s: %s %q, expected %s %q", kind, test.InputPath, found, message,
					test.HealthStatus.Status, test.HealthStatus.Message)
			}
		}
	}
}

func TestKstatus(t *testing.T) {
	for kind, expected := range kstatus {
		files, err := filepath.Glob(filepath.Join(customizations, kind, "testdata", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(expected) {
			t.Errorf("%s: %d objects, %d expectations", kind, len(files), len(expected))
		}
		for _, file := range files {
			result, err := status.Compute(&unstructured.Unstructured{Object: object(t, file)})
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			name := filepath.Base(file)
			if want := expected[name[:len(name)-len(".yaml")]]; result.Status != want {
				t.Errorf("%s %s: %s, expected %q (%s)", kind, name, result.Status, want, result.Message)
			}
		}
	}
}
