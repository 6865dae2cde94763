package packages

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// A composite action, as far as ours uses what there is.
type action struct {
	Name, Description string
	Inputs            map[string]struct {
		Description, Default string
		Required             bool
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []step
	}
}

type step struct {
	Name, ID, If, Shell, Run string
	Env                      map[string]string
}

func readAction(t *testing.T) action {
	t.Helper()
	var found action
	if err := yaml.Unmarshal([]byte(read(t, root+"/packaging/ci/github/action.yml")), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

var expression = regexp.MustCompile(`\$\{\{ *([^}]*?) *\}\}`)

// runAction does what a runner does: defaults for inputs that are not given, expressions filled in, each step in a shell of its own, up
// to the first that fails. It gives the outputs, the summary, what was printed, and the exit code of the last step.
func runAction(t *testing.T, given map[string]string, variables []string) (outputs map[string]string, summary, printed string, code int) {
	t.Helper()
	found, folder := readAction(t), t.TempDir()
	inputs := map[string]string{}
	for name, input := range found.Inputs {
		value, there := given[name]
		if !there && input.Required {
			t.Fatalf("the input %s is required", name)
		}
		if !there {
			value = input.Default
		}
		inputs[name] = value
	}
	stepOutputs := map[string]string{}
	fill := func(text string) string {
		return expression.ReplaceAllStringFunc(text, func(match string) string {
			inner := expression.FindStringSubmatch(match)[1]
			name, ours := strings.CutPrefix(inner, "inputs.")
			if !ours {
				t.Fatalf("the runner knows no %s", match)
			}
			if _, declared := inputs[name]; !declared {
				t.Fatalf("%s is not declared", match)
			}
			return inputs[name]
		})
	}
	for _, one := range found.Runs.Steps {
		if one.If != "" {
			name, is := strings.CutSuffix(strings.TrimPrefix(one.If, "inputs."), " != ''")
			if !is {
				t.Fatalf("the runner knows no condition %s", one.If)
			}
			if inputs[name] == "" {
				continue
			}
		}
		if expression.MatchString(one.Run) {
			t.Fatalf("step %s: a value would become text of a script", one.Name)
		}
		script, out := folder+"/step.sh", folder+"/output"
		for path, text := range map[string]string{script: one.Run, out: ""} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		command := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
		command.Env = append(append(os.Environ(), variables...), "GITHUB_OUTPUT="+out, "GITHUB_STEP_SUMMARY="+folder+"/summary")
		for name, value := range one.Env {
			command.Env = append(command.Env, name+"="+fill(value))
		}
		said, err := command.CombinedOutput()
		printed += string(said)
		for _, line := range strings.Split(read(t, out), "\n") {
			if name, value, is := strings.Cut(line, "="); is {
				stepOutputs[one.ID+"."+name] = value
			}
		}
		if err != nil {
			code = command.ProcessState.ExitCode()
			break
		}
	}
	outputs = map[string]string{}
	for name, output := range found.Outputs {
		inner := expression.FindStringSubmatch(output.Value)[1]
		reference, otherwise, _ := strings.Cut(inner, " || ")
		outputs[name] = stepOutputs[strings.Replace(strings.TrimPrefix(reference, "steps."), ".outputs.", ".", 1)]
		if outputs[name] == "" {
			outputs[name] = strings.Trim(otherwise, "'")
		}
	}
	if text, err := os.ReadFile(folder + "/summary"); err == nil {
		summary = string(text)
	}
	return outputs, summary, printed, code
}

func TestTheActionUsesEachOfItsInputs(t *testing.T) {
	found := readAction(t)
	if found.Runs.Using != "composite" || len(found.Runs.Steps) < 3 {
		t.Fatalf("%+v", found.Runs)
	}
	var used strings.Builder
	for _, one := range found.Runs.Steps {
		if one.Shell != "bash" {
			t.Errorf("step %s names no shell", one.Name)
		}
		used.WriteString(one.If + " ")
		for variable, value := range one.Env {
			used.WriteString(value)
			if !strings.Contains(one.Run, variable) {
				t.Errorf("step %s does not use %s", one.Name, variable)
			}
		}
		command := exec.Command("bash", "-n")
		command.Stdin = strings.NewReader(one.Run)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("step %s: %s", one.Name, out)
		}
	}
	for name := range found.Inputs {
		if !strings.Contains(used.String(), "inputs."+name) {
			t.Errorf("no step uses the input %s", name)
		}
	}
	for _, match := range expression.FindAllStringSubmatch(used.String(), -1) {
		if _, declared := found.Inputs[strings.TrimPrefix(match[1], "inputs.")]; !declared {
			t.Errorf("%s is not declared", match[0])
		}
	}
}

const quickRollout = `apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: { name: pump-anomaly-%s }
spec:
  model: pump-anomaly
  version: %s
`

// The steps of both templates on a real API server, with the real plugin. What the controller would write at the end is patched in.
func TestTheTemplatesRegisterRollOutAndWait(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs an API server and built programs")
	}
	kubeconfig := startControlPlane(t)
	kubectl(t, kubeconfig, "apply", "--server-side", "-f", root+"/manifests/crds")
	kubectl(t, kubeconfig, "create", "namespace", "plant-a")
	folder, key := t.TempDir(), t.TempDir()+"/ci.key"
	run(t, ours(t, "kubectl-modelfleet"), "keygen", "--no-password", "--secret-key", key, "--public-key", key+".pub")
	program, _ := os.Getwd()
	bin := ours(t, "kubectl-modelfleet")
	if !strings.HasPrefix(bin, "/") {
		bin = program + "/" + bin
	}
	path := "PATH=" + strings.TrimSuffix(bin, "/kubectl-modelfleet") + ":" + os.Getenv("PATH")
	variables := []string{"KUBECONFIG=" + kubeconfig, path}
	file := func(version string) string {
		name := folder + "/rollout-" + version + ".yaml"
		text := strings.Replace(strings.Replace(quickRollout, "%s", strings.ReplaceAll(version, ".", "-"), 1), "%s", version, 1)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	model := root + "/examples/pumps/models/pump-anomaly-1.0.0.onnx"
	inputs := func(version string) map[string]string {
		return map[string]string{
			"file": model, "model": "pump-anomaly", "version": version, "namespace": "plant-a", "store": folder + "/models dir",
			"key": read(t, key), "arguments": "--baseline\nAccuracy=0.97\n", "rollout": file(version), "timeout": "2m",
		}
	}
	if err := os.Mkdir(folder+"/models dir", 0o700); err != nil {
		t.Fatal(err)
	}

	t.Run("GitHub, registered only", func(t *testing.T) {
		given := inputs("1.0.0")
		delete(given, "rollout")
		outputs, _, printed, code := runAction(t, given, variables)
		if code != 0 || outputs["outcome"] != "registered" {
			t.Fatalf("%d %v\n%s", code, outputs, printed)
		}
		version := kubectl(t, kubeconfig, "get", "modelversion", "pump-anomaly-1.0.0", "-n", "plant-a", "-o",
			"jsonpath={.spec.baseline.metrics[0].name}{.spec.signatures[0].value}")
		if !strings.HasPrefix(version, "Accuracy") || len(version) < 100 {
			t.Errorf("the version is not signed or has no baseline: %s", version)
		}
	})
	for _, end := range []struct {
		version, condition, outcome string
		code                        int
	}{{"1.0.1", "Ready", "succeeded", 0}, {"1.0.2", "RolledBack", "rolled-back", 2}, {"1.0.3", "Stalled", "stalled", 4}} {
		t.Run("GitHub, "+end.outcome, func(t *testing.T) {
			go conclude(t, kubeconfig, "pump-anomaly-"+strings.ReplaceAll(end.version, ".", "-"), end.condition)
			outputs, summary, printed, code := runAction(t, inputs(end.version), variables)
			if code != end.code || outputs["outcome"] != end.outcome || !strings.Contains(summary, end.condition+" (Test)") {
				t.Errorf("%d %v\n%s\n%s", code, outputs, summary, printed)
			}
		})
	}
	t.Run("GitHub, not in time", func(t *testing.T) {
		given := inputs("1.0.4")
		given["timeout"] = "1s"
		outputs, _, printed, code := runAction(t, given, variables)
		if code != 3 || outputs["outcome"] != "timeout" {
			t.Errorf("%d %v\n%s", code, outputs, printed)
		}
	})
	t.Run("GitHub, refused", func(t *testing.T) {
		given := inputs("1.0.5")
		given["file"] = root + "/README.md"
		outputs, _, printed, code := runAction(t, given, variables)
		if code != 1 || !strings.Contains(printed, "error: ") {
			t.Errorf("%d %v\n%s", code, outputs, printed)
		}
	})
	for _, end := range []struct {
		version, condition string
		code               int
	}{{"1.1.0", "Ready", 0}, {"1.1.1", "RolledBack", 2}} {
		t.Run("GitLab, "+end.condition, func(t *testing.T) {
			go conclude(t, kubeconfig, "pump-anomaly-"+strings.ReplaceAll(end.version, ".", "-"), end.condition)
			printed, code := runGitlab(t, append(variables, "MF_FILE="+absolute(t, model), "MF_MODEL=pump-anomaly",
				"MF_VERSION="+end.version, "MF_NAMESPACE=plant-a", "MF_STORE="+folder+"/models dir", "MODELFLEET_KEY="+key,
				"MF_ROLLOUT="+file(end.version), "MF_TIMEOUT=2m"))
			if code != end.code || !strings.Contains(printed, end.version) {
				t.Errorf("%d\n%s", code, printed)
			}
		})
	}
}

// conclude writes the end of a rollout as the controller does, as soon as the rollout is there.
func conclude(t *testing.T, kubeconfig, rollout, condition string) {
	status := `{"status":{"observedGeneration":1,"conditions":[{"type":"` + condition + `","status":"True","reason":"Test","message":"",` +
		`"lastTransitionTime":"2026-08-01T12:00:00Z"}]}}`
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		command := exec.Command("kubectl", "--kubeconfig", kubeconfig, "patch", "rollout", rollout, "-n", "plant-a", "--subresource=status",
			"--type=merge", "-p", status)
		if command.Run() == nil {
			return
		}
	}
	t.Errorf("rollout %s did not come", rollout)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return folder + "/" + path
}

// runGitlab does what a GitLab runner does with a job that extends the template: its variables, and the lines of its script in one
// shell that ends at the first failure. GitLab's images often have sh alone.
func runGitlab(t *testing.T, variables []string) (string, int) {
	t.Helper()
	var found map[string]struct {
		Variables map[string]string
		Script    []string
	}
	if err := yaml.Unmarshal([]byte(read(t, root+"/packaging/ci/gitlab/modelfleet.yml")), &found); err != nil {
		t.Fatal(err)
	}
	job, there := found[".modelfleet-rollout"]
	if !there || len(job.Script) < 3 {
		t.Fatalf("%v", found)
	}
	command := exec.Command("sh", "-e", "-c", strings.Join(job.Script, "\n"))
	command.Dir = t.TempDir()
	command.Env = os.Environ()
	for name, value := range job.Variables {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Env = append(command.Env, variables...)
	out, err := command.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}
