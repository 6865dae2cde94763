// Command modelfleet-controlplane runs a real kube-apiserver and etcd in one process,
// on loopback only, with all state in one directory. It is for tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	readyTimeout = 2 * time.Minute
	stopTimeout  = 20 * time.Second
	drainTimeout = 8 * time.Second
)

type config struct {
	dir            string
	port           int
	fsync          bool
	controllers    bool
	exitWithParent bool
}

func main() {
	var c config
	flag.StringVar(&c.dir, "dir", "", "directory for all state: etcd, keys, kubeconfig, log (required)")
	flag.IntVar(&c.port, "port", 0, "port of the API server on 127.0.0.1 (default: the one used last in this directory, else a free one)")
	flag.BoolVar(&c.fsync, "fsync", false, "let etcd flush to disk; slower, and only of use if the machine may lose power")
	flag.BoolVar(&c.controllers, "controllers", true, "also run the namespace, garbage collector and service account controllers")
	flag.BoolVar(&c.exitWithParent, "exit-with-parent", false, "stop when the process that started this one is gone")
	flag.Parse()
	if c.dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	stderr, logPath, err := logToFile(c.dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "modelfleet-controlplane:", err)
		os.Exit(1)
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(stderr, "modelfleet-controlplane: "+format+"\n", args...)
	}
	// klog ends the process on some failures in the API server. Say where to look.
	klog.OsExit = func(code int) {
		say("the API server gave up, see %s", logPath)
		os.Exit(code)
	}
	if err := run(c, say); err != nil {
		say("%v (log: %s)", err, logPath)
		os.Exit(1)
	}
}

// logToFile sends stderr to DIR/log and returns the old stderr. The servers write a few
// hundred lines on every start; this way panics land in the same file too.
func logToFile(dir string) (*os.File, string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", err
	}
	old, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, "", err
	}
	if err := unix.Dup2(int(f.Fd()), 2); err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(old), "stderr"), path, f.Close()
}

func run(c config, say func(string, ...any)) error {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()

	kubeconfig := filepath.Join(dir, "kubeconfig")
	// A file left by an earlier run would look like "ready" to whoever waits for it.
	if err := os.Remove(kubeconfig); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	pki, err := loadOrCreatePKI(filepath.Join(dir, "pki"))
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	listener, err := listen(dir, c.port, say)
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go stopOnSignal(stop, say)
	if c.exitWithParent {
		go stopWithParent(stop, os.Getppid())
	}

	etcd, err := startEtcd(ctx, filepath.Join(dir, "etcd"), c.fsync)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	// etcd goes last: the API server still writes while it stops.
	defer etcd.Close()

	served := make(chan error, 1)
	go func() {
		flags := apiserverFlags(map[string]string{
			"PORT": strconv.Itoa(port),
			"PKI":  filepath.Join(dir, "pki"),
			"ETCD": "http://" + etcd.Clients[0].Addr().String(),
		})
		served <- runAPIServer(ctx, flags, listener)
	}()

	text := pki.kubeconfig(fmt.Sprintf("https://127.0.0.1:%d", port))
	client, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, client, served, etcd.Err()); err != nil {
		return err
	}
	if ctx.Err() == nil {
		if c.controllers {
			if err := startControllers(ctx, client); err != nil {
				return fmt.Errorf("controllers: %w", err)
			}
		}
		if err := writeFile(kubeconfig, text, 0o600); err != nil {
			return err
		}
		fmt.Printf("ready kubeconfig=%s\n", filepath.Join(c.dir, "kubeconfig"))
	}

	select {
	case err := <-served:
		if ctx.Err() == nil {
			return fmt.Errorf("the API server stopped by itself: %v", err)
		}
		return err
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-ctx.Done():
	}
	select {
	case err := <-served:
		return err
	case <-time.After(drainTimeout):
		// A client holds a request open. What was answered is in etcd already.
		return nil
	}
}

// lockDir keeps a second control plane away from the same data.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another control plane", dir)
	}
	return f, nil
}

// listen takes the wanted port, or the last one, so that clients survive a restart.
func listen(dir string, port int, say func(string, ...any)) (net.Listener, error) {
	path := filepath.Join(dir, "port")
	last := 0
	if text, err := os.ReadFile(path); err == nil {
		last, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	want := port
	if want == 0 {
		want = last
	}
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", want))
	if err != nil && port == 0 && want != 0 {
		say("port %d of the last run is taken, using another", want)
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	got := l.Addr().(*net.TCPAddr).Port
	return l, writeFile(path, []byte(strconv.Itoa(got)+"\n"), 0o600)
}

func stopOnSignal(stop func(), say func(string, ...any)) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	// From here on klog may still call Fatal for work that was cut short. That is no failure.
	klog.OsExit = func(int) { select {} }
	stop()
	select {
	case <-signals:
		say("second signal, leaving at once")
	case <-time.After(stopTimeout):
		say("not stopped after %s, leaving", stopTimeout)
	}
	os.Exit(1)
}

func stopWithParent(stop func(), parent int) {
	for os.Getppid() == parent {
		time.Sleep(500 * time.Millisecond)
	}
	stop()
	time.Sleep(stopTimeout)
	os.Exit(1)
}

func waitReady(ctx context.Context, config *rest.Config, served, etcdFailed <-chan error) error {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	deadline := time.After(readyTimeout)
	for {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case err := <-served:
			return fmt.Errorf("the API server did not start: %v", err)
		case err := <-etcdFailed:
			return fmt.Errorf("etcd: %w", err)
		case <-deadline:
			return fmt.Errorf("not ready after %s: %w", readyTimeout, err)
		case <-ctx.Done():
			return nil
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// writeFile replaces a file in one step, so nobody reads half of it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	next := path + ".next"
	if err := os.WriteFile(next, data, mode); err != nil {
		return err
	}
	return os.Rename(next, path)
}
