# Names, not logic: what each target does is in the script that it calls.
#
#   make demo          a plant of 200 pumps on this machine, from kubectl apply to automatic rollback
#   make demo KEEP=1   the same, and leaves it running
#   make dashboard     the dashboard in a real Chromium, with a thousand rollouts; screenshots in target/dashboard
#   make test          everything: format, lints, unit tests, laws, stories, end to end on real parts

KEEP ?=
SHELL := /bin/bash

.PHONY: demo test install build check unit gitops packages packages-quick swarm examples monitoring e2e dashboard manifests sbom fuzz

demo: install
	tests/demo.sh $(if $(KEEP),--keep)

test: install check unit gitops packages-quick examples monitoring e2e

install:
	tests/install.sh

# Bans, licences and sources need no network; the advisory database is on GitHub, which not every machine reaches, and is
# asked by hand: `$(tests/cargo_deny.sh) check advisories`.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	$$(tests/cargo_deny.sh) --locked --all-features check bans licenses sources
	packaging/sbom.py target/sbom
	tests/swarm/mutants.py --check

# With a thousand seeds of the simulated world with faults, which take about four minutes on two quiet cores.
unit:
	MODELFLEET_SWARM_SEEDS=1000 cargo test --workspace --features real-parts,pkcs11 --locked

# What Argo CD, Flux and Helm make of our objects. Go knows no change of files outside of a module, so no answer of a run before is
# taken (-count=1).
gitops:
	cd tests/gitops && go test -count=1 ./...

# Helm chart, images, keys, release, krew and the templates for CI, with the real Helm, krew and Mosquitto and a real API server.
packages:
	cargo build --workspace --locked --bins
	cd tests/packages && go test -count=1 ./...

# The part of it that needs neither built programs nor servers.
packages-quick:
	cd tests/packages && go test -count=1 -short ./...

# The seeds alone.
swarm:
	MODELFLEET_SWARM_SEEDS=1000 cargo test --locked -p modelfleet-swarm --test seeds

# libFuzzer on every reader of what a stranger wrote, some seconds each; it needs a nightly compiler. The tests try the same
# functions with a fixed chance on any compiler.
fuzz:
	tests/fuzz.sh $(or $(SECONDS_EACH),60)

examples:
	tests/examples.sh

# Rules, alerts and dashboards by the real promtool, amtool and Prometheus.
monitoring:
	cargo test --locked -p modelfleet-tests --features prometheus --test monitoring
	cargo test --locked -p modelfleet-controller --features prometheus --test alertmanager

e2e:
	tests/e2e.sh

# A small version of it is a part of e2e.
dashboard:
	DASHBOARD_ROLLOUTS=1000 tests/dashboard.sh

# What is linked into each program that ships, as CycloneDX.
sbom:
	packaging/sbom.py target/sbom
	tests/swarm/mutants.py --check

manifests:
	cargo run -p modelfleet-crds --bin crdgen -- --out manifests/crds
