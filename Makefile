# Everything that is done to this repository is a target here; `make help` lists them. A fresh Debian or
# Ubuntu needs make, git and Go. What else a target needs it installs: tools into .tools, database servers,
# npm and Python packages into $(ROWHOOK_CACHE), all pinned below.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Pinned tools. Each is built from source by `make lint` or `make generate`, once.
GOLANGCI_LINT_VERSION := v2.12.2
BUF_VERSION           := v1.65.0
PROTOC_GEN_GO_VERSION := v1.36.12
# The other official verifier of Standard Webhooks, which deliveries are checked with.
STANDARDWEBHOOKS_NPM_VERSION := 1.1.1
# What tries the API against its OpenAPI document.
SCHEMATHESIS_VERSION := 4.32.5

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOLS   := $(CURDIR)/.tools
export ROWHOOK_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rowhook
# Where tests find the npm package: node resolves require() through NODE_PATH.
NODE_PACKAGES := $(ROWHOOK_CACHE)/standardwebhooks-$(STANDARDWEBHOOKS_NPM_VERSION)
export ROWHOOK_NODE_MODULES := $(NODE_PACKAGES)/node_modules
# Where tests find the Python program.
PYTHON_PACKAGES := $(ROWHOOK_CACHE)/schemathesis-$(SCHEMATHESIS_VERSION)
export ROWHOOK_SCHEMATHESIS := $(PYTHON_PACKAGES)/bin/schemathesis

# Tests run two packages at a time: more servers at once than cores make each other slow, not the whole fast.
TEST_PACKAGES ?= ./...
TEST_FLAGS    ?= -p 2
BENCH         ?= capture latency deliver
BENCH_FLAGS   ?= --short

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/rowhook, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/rowhook ./cmd/rowhook

.PHONY: demo
demo: build ## Play the rental shop against a private MariaDB; Ctrl-C ends it and leaves nothing
	CGO_ENABLED=0 go build -trimpath -o bin/rowhook-demo ./examples/demo
	@exec bin/rowhook-demo

.PHONY: test
test: need-cc need-node-packages need-python-packages need-postgresql ## Vet and run all tests, with real servers, under the race detector
	go vet $(TEST_PACKAGES)
	go test -race -timeout 20m -skip '^TestSoak' $(TEST_FLAGS) $(TEST_PACKAGES)

.PHONY: soak
soak: need-node-packages ## Run the long tests: 200 kills, a 20 GB log; about two hours
	ROWHOOK_SOAK=1 go test -count 1 -timeout 2h -p 1 -v -run '^TestSoak' ./...

.PHONY: bench
bench: build ## Measure, briefly; BENCH="capture deliver" and BENCH_FLAGS="--short" choose
	@for scenario in $(BENCH); do bin/rowhook bench $$scenario $(BENCH_FLAGS); done

.PHONY: lint
lint: lint-format lint-proto lint-go ## Check formatting, Go, schemas and generated code

.PHONY: lint-format
lint-format:
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs -r ls -d 2>/dev/null | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted; run gofmt -w on:"; echo "$$files"; exit 1; fi

.PHONY: lint-go
lint-go: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
	$(TOOLS)/golangci-lint run ./...

.PHONY: lint-proto
lint-proto: $(TOOLS)/buf-$(BUF_VERSION) $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION)
	$(TOOLS)/buf lint
	@# What was released is in somebody's log: it stays readable.
	@release=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true); \
	if [ -n "$$release" ]; then echo "buf breaking, against $$release"; $(TOOLS)/buf breaking --against ".git#tag=$$release"; \
	else echo "buf breaking: there is no release to compare with yet"; fi
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	PATH="$(TOOLS):$$PATH" $(TOOLS)/buf generate -o "$$fresh"; \
	diff -r gen "$$fresh/gen" || { echo "gen/ is not what proto/ gives; run: make generate"; exit 1; }

.PHONY: generate
generate: $(TOOLS)/buf-$(BUF_VERSION) $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION) ## Make gen/ from proto/, and docs/configuration.md from internal/config
	PATH="$(TOOLS):$$PATH" $(TOOLS)/buf generate
	go test ./internal/config -count 1 -run '^TestDocument$$' -update

.PHONY: clean
clean: ## Remove what was built and measured; .tools and the cache stay
	rm -rf bin bench-results .demo

# The empty file beside a tool names its version, so that a new pin builds it anew.

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	$(call install-tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION))

$(TOOLS)/buf-$(BUF_VERSION):
	$(call install-tool,buf,github.com/bufbuild/buf/cmd/buf,$(BUF_VERSION))

$(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION):
	$(call install-tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO_VERSION))

# install-tool builds a tool ($1) of a version ($3) from its package ($2), unless it is there. Without
# debug symbols it links in half the time; without cgo it needs no C compiler.
define install-tool
	@mkdir -p $(TOOLS); rm -f $(TOOLS)/$(1)-v*
	$(TOOLS)/$(1) --version 2>/dev/null | grep -qF '$(3:v%=%)' || \
		CGO_ENABLED=0 GOFLAGS= GOBIN=$(TOOLS) go install -ldflags '-s -w' $(2)@$(3)
	@touch $@
endef

# The race detector needs a C compiler.
.PHONY: need-cc
need-cc:
	@command -v "$${CC:-gcc}" >/dev/null || { $(call apt-install,gcc libc6-dev); }

# Tests of webhook.Inbox start a private PostgreSQL. Debian also runs a server of its own with it, which they leave alone.
.PHONY: need-postgresql
need-postgresql:
	@command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || { $(call apt-install,postgresql); }

.PHONY: need-node-packages
need-node-packages: $(NODE_PACKAGES)/.installed

$(NODE_PACKAGES)/.installed:
	@command -v npm >/dev/null || { $(call apt-install,nodejs npm); }
	mkdir -p $(NODE_PACKAGES)
	npm install --prefix $(NODE_PACKAGES) --no-save --no-audit --no-fund --ignore-scripts --loglevel error \
		standardwebhooks@$(STANDARDWEBHOOKS_NPM_VERSION)
	@touch $@

.PHONY: need-python-packages
need-python-packages: $(PYTHON_PACKAGES)/.installed

$(PYTHON_PACKAGES)/.installed:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(call apt-install,python3 python3-venv); }
	rm -rf $(PYTHON_PACKAGES)
	mkdir -p $(dir $(PYTHON_PACKAGES))
	python3 -m venv $(PYTHON_PACKAGES)
	$(PYTHON_PACKAGES)/bin/pip install --quiet --disable-pip-version-check schemathesis==$(SCHEMATHESIS_VERSION)
	@touch $@

# apt-install installs Debian packages, or says which are missing where it may not.
apt-install = as=""; [ "$$(id -u)" = 0 ] || as="sudo -n"; \
	echo "installing $(1)"; \
	{ $$as apt-get update -q && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(1); } \
	|| { echo "install these packages yourself: $(1)" >&2; exit 1; }
