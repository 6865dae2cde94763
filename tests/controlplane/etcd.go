package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

func startEtcd(ctx context.Context, dir string, fsync bool) (*embed.Etcd, error) {
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.LogLevel = "warn"
	// NewConfig leaves this at zero, which logs every request as slow.
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	// Unused here, and it would keep dialing port 0.
	cfg.EnableGRPCGateway = false
	cfg.UnsafeNoFsync = !fsync
	cfg.ListenClientUrls = anyPort
	cfg.ListenPeerUrls = anyPort
	// There are no peers, so nobody dials the advertised addresses. They only have to be
	// the same on every start, because the data directory remembers them.
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// A single member need not wait long for the votes of others.
	cfg.TickMs = 10
	cfg.ElectionMs = 100

	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err = <-etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(readyTimeout):
		err = errors.New("not ready in time")
	}
	etcd.Close()
	return nil, err
}
