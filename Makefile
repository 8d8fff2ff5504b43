# Two commands do everything on a fresh machine with Go:
#
#   go run ./cmd/imds dev    serve metadata on loopback
#   make test                install what the tests need, and run all of them
#
# The others:
#
#   make check               the quick part of it: no root, no network
#   make fuzz                every fuzz target, FUZZTIME each
#   make guest               boot a Debian guest under QEMU, and let it ask (root, a minute)
#   make trace-kernels       the tracer on six kernels, x86-64 and arm64, under QEMU (root, minutes)
#   make guest-units         boot a Debian with systemd, install the packages there and try the units (root, three minutes)
#   make package             build Debian packages into bin/packages
#   make bench               compare with nginx; writes bench/results.md
#   make generate            write the generated documents again
#   make fmt                 format the code

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := check

MODULES  := . tools e2e e2e/verifiers
FUZZTIME ?= 20s
RACE     ?= -race

GOLANGCI := bin/golangci-lint
REPORT   := bin/testreport
NFPM     := bin/nfpm

.PHONY: test check deps format fmt vet lint lint-if-built unit unit-quick generate generated facts e2e guest guest-units trace-kernels package fuzz bench

test: deps format vet lint unit generated facts e2e
	@echo "make test: all passed"

# Without a network, e2e can be looked at only if its modules are there.
check: MODULES = . tools $(foreach m,e2e e2e/verifiers,$(shell GOPROXY=off go -C $(m) list -deps -test ./... >/dev/null 2>&1 && echo $(m)))
check: format vet unit-quick facts lint-if-built
	@echo "make check: passed in the modules $(MODULES)"
	@echo "left out: the race detector, end-to-end tests, generated documents (make test has them)"

deps:
	scripts/install-test-deps

format:
	@bad=$$(find . -name '*.go' -not -path './*/.cache/*' -print0 | xargs -0 gofmt -l); \
	if [ -n "$$bad" ]; then echo "not formatted (make fmt):"; echo "$$bad"; exit 1; fi

fmt:
	find . -name '*.go' -not -path './*/.cache/*' -print0 | xargs -0 gofmt -w

vet:
	@for m in $(MODULES); do \
		echo "go -C $$m vet ./..."; \
		go -C $$m vet ./...; \
	done

# The linter is built from source once, which takes a minute or two.
$(GOLANGCI): tools/go.mod tools/go.sum
	@echo "building golangci-lint (once, a minute or two)"
	@go -C tools build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint: $(GOLANGCI)
	@status=0; for m in $(MODULES); do \
		echo "golangci-lint in $$m"; \
		(cd $$m && "$(CURDIR)/$(GOLANGCI)" run --config "$(CURDIR)/.golangci.yml" ./...) || status=1; \
	done; exit $$status

lint-if-built:
	@if [ -x $(GOLANGCI) ]; then \
		$(MAKE) --no-print-directory lint MODULES="$(MODULES)"; \
	else \
		echo "left out: golangci-lint, which is not built (make lint builds it)"; \
	fi

$(REPORT): $(wildcard tools/testreport/*.go)
	@go -C tools build -o ../$@ ./testreport

unit: $(REPORT)
	$(REPORT) $(RACE) ./...
	$(REPORT) -C tools ./factcheck ./testreport

unit-quick: $(REPORT)
	$(REPORT) ./...

generate:
	go generate ./...

# Generated documents are committed: writing them again must change nothing.
generated:
	scripts/check-generated

facts:
	@go -C tools run ./factcheck -root ..

# nfpm makes Debian packages; it is built from source once.
$(NFPM): scripts/package
	scripts/package --tools

package: $(NFPM)
	scripts/package

# Real clients against the real program, in network namespaces of their own.
e2e: $(REPORT) $(NFPM)
	$(REPORT) -C e2e -count=1 -timeout=15m ./...
	$(REPORT) -C e2e/verifiers -count=1 -timeout=5m ./...

# A machine that is nothing of ours asks over a tap; see docs/operate/network.md.
guest:
	scripts/install-guest
	go -C e2e test -tags=guest -count=1 -timeout=10m -run='^TestGuest$$' -v .

# Kernels that are not this machine's; see docs/operate/tracer.md.
trace-kernels:
	scripts/install-kernels
	go -C e2e test -tags=guest -count=1 -timeout=40m -run='^TestTraceKernels$$' -v .

# The packages and their units in a Debian that boots; see docs/operate/fleet.md.
guest-units: $(NFPM)
	scripts/install-guest units
	go -C e2e test -tags=guest -count=1 -timeout=10m -run='^TestGuestUnits$$' -v .

fuzz:
	scripts/fuzz $(FUZZTIME)

bench:
	bench/run
