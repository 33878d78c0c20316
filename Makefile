# Verbs: demo test lint bench proto lock clean. `make help` says what each does.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PEERS  ?= .venv-peers
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format check bench bench-data-plane bench-matching bench-etcd-client bench-large
.PHONY: bench-collector bench-fairness proof console-shots
.PHONY: chaos fuzz proto crds helm-docs metrics-docs rules-docs dashboards lock clean

help: ## what one can do here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# One stamp per set of packages, so that `make demo` twice installs once.
$(VENV)/.demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; $$($(PYTHON) --version) was found (PYTHON=/path/to/python3 chooses another)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint]'
	@touch $@

install: $(VENV)/.demo ## the virtual environment with everything the product needs

demo: $(VENV)/.demo ## the main job on real services: create, crash, collect (under a minute)
	$(BIN)/leasehold demo $(DEMO_ARGS)

# They wait for processes and clocks more than they compute, so three keep two cores busy.
TEST_WORKERS ?= 3
test: $(VENV)/.dev ## every test, with a real etcd and real owners
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup $(TEST_ARGS)

lint: $(VENV)/.dev ## formatting, ruff, mypy --strict, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test ## all that CI checks

MINUTES ?= 10
chaos: $(VENV)/.dev ## real faults against real processes, MINUTES=60 SEED=7; tests/chaos/README.md tells how to read it
	$(BIN)/python -m tests.chaos.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(CHAOS_ARGS)

proof: $(VENV)/.dev ## the claims of docs/operations.md with their commands; CLAIM="shards brake" (or all) runs them
	$(BIN)/python -m tests.proof $(CLAIM)

console-shots: $(VENV)/.dev ## pictures of every view of the console, light and dark, into build/console-shots
	$(BIN)/python -m pytest -n 0 tests/console/test_views.py -k every_view

bench: $(VENV)/.dev ## registrations per second through one sidecar's committer into one real etcd
	$(BIN)/python -m tests.bench.registrations $(BENCH_ARGS)

bench-etcd-client: $(VENV)/.dev ## CPU of one unary call to etcd: grpclib beside our own connection
	$(BIN)/python -m tests.bench.unary $(BENCH_ARGS)

bench-collector: $(VENV)/.dev ## a million resources: memory, cold start, scan, condemnations and sweeps per second
	$(BIN)/python -m tests.bench.collector $(BENCH_ARGS)

bench-fairness: $(VENV)/.dev ## what one dead owner of ten costs the other nine, in percent
	$(BIN)/python -m tests.bench.fairness $(BENCH_ARGS)

# The peers are programs of other people: never part of the normal set-up. What cannot be installed is said, and left out.
$(PEERS)/.installed:
	-$(PYTHON) tests/bench/peers/install.py $(PEERS)

bench-data-plane: $(VENV)/.dev $(PEERS)/.installed ## the relay beside HAProxy, nginx, Envoy, Caddy, Traefik, mitmproxy
	LEASEHOLD_BENCH_PEERS=$(PEERS)/bin $(BIN)/python -m tests.bench.data_plane $(BENCH_ARGS)

bench-matching: $(VENV)/.dev ## what a lookup of rules costs per request, with 1 to 10,000 of them
	$(BIN)/python -m tests.bench.matching $(BENCH_ARGS)

SIZE ?= 10GiB
bench-large: $(VENV)/.dev ## bodies of SIZE (100GiB, ...) through one sidecar, both ways, every byte checked
	$(BIN)/python -m tests.bench.large --size $(SIZE) $(BENCH_ARGS)

MINUTES ?= 10
fuzz: $(VENV)/.dev ## mutated exchanges against both observers for MINUTES; a failure prints how to run it again
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(FUZZ_ARGS)

proto: $(VENV)/.dev ## regenerate the stubs of etcd and of the operator API (the result is committed)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[proto]'
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --mypy_out=proto --grpclib_python_out=proto proto/leasehold/protocol/etcd/rpc.proto
	rm -rf build/operator && mkdir -p build/operator
	$(BIN)/python -m grpc_tools.protoc -I proto --python_betterproto2_out=build/operator $(addprefix --python_betterproto2_opt=,server_generation=async client_generation=async) proto/leasehold/v1/operator.proto
	# It would make packages of all folders up to its root; `leasehold` is none, so the pool of messages moves in.
	sed 's/^from \.\.\.message_pool/from .message_pool/' build/operator/leasehold/v1/__init__.py > proto/leasehold/v1/__init__.py
	cp build/operator/message_pool.py proto/leasehold/v1/message_pool.py
	$(BIN)/ruff format --quiet --isolated --line-length 120 proto/leasehold/v1

CRDS := helm/leasehold/files/crds
metrics-docs: $(VENV)/.dev ## write docs/metrics.md again, from the declarations in the code
	$(BIN)/python docs/metrics_page.py

dashboards: $(VENV)/.dev ## write the Grafana dashboards again, from helm/dashboards
	$(BIN)/python -m helm.dashboards helm/leasehold/files/dashboards

crds: $(VENV)/.dev ## write the definitions of Owner and InterceptionRule again, from the model
	$(BIN)/python -m leasehold.control_plane.kubernetes.crds $(CRDS)

helm-docs: $(VENV)/.dev ## write the chart's README again, from the comments of its values
	$(BIN)/python helm/readme.py helm/leasehold

rules-docs: $(VENV)/.dev ## write the reference of rule files again, from the model
	$(BIN)/python docs/rules_reference.py > docs/rules-reference.md

lock: $(VENV)/.dev ## write the versions in use to constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
