package main

import (
	"context"
	_ "embed"
	"net"
	"strings"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	basecompatibility "k8s.io/component-base/compatibility"
	logsapi "k8s.io/component-base/logs/api/v1"

	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

//go:embed apiserver.flags
var flagLines string

func apiserverFlags(values map[string]string) []string {
	var flags []string
	for line := range strings.Lines(flagLines) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for name, value := range values {
			line = strings.ReplaceAll(line, "@"+name+"@", value)
		}
		flags = append(flags, line)
	}
	return flags
}

// runAPIServer does what the kube-apiserver command does, but with a listener that is
// already open (no race for the port) and without its signal handler.
func runAPIServer(ctx context.Context, flags []string, listener net.Listener) error {
	opts := options.NewServerRunOptions()
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	sets := opts.Flags()
	for _, set := range sets.FlagSets {
		fs.AddFlagSet(set)
	}
	if err := fs.Parse(flags); err != nil {
		return err
	}
	opts.SecureServing.Listener = listener

	registry := opts.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return err
	}
	gates := registry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
	if err := logsapi.ValidateAndApply(opts.Logs, gates); err != nil {
		return err
	}
	// The server's clients to itself need no warnings about deprecated APIs.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	completed, err := opts.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return utilerrors.NewAggregate(errs)
	}
	return app.Run(ctx, completed)
}
