# The two commands: `make run` and `make test`. Both install what is missing first.

.PHONY: run test test-all check book deny features extension unit python-tests stacks package bench fuzz setup setup-tests python clean

# Open MPI's mpiexec refuses root unless it is told otherwise, as in a container.
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
endif
export PATH := $(HOME)/.cargo/bin:$(PATH)

run: setup
	cargo build --release
	mpiexec --oversubscribe -n 3 target/release/rankpool run pi --tasks 1000 --samples 2000000

test: setup-tests python check book deny features extension unit python-tests stacks package
	@echo "all checks passed"

# What test runs, and more than a sample of what dies when, and on both other MPI libraries.
test-all: STACK_TESTS += cli scenarios
test-all: STACK_KILLS := openmpi mpich
test-all: STACK_BEHAVIOURS :=
test-all: export RANKPOOL_TEST_KILLS := all
test-all: test

setup:
	@./setup.sh

setup-tests:
	@./setup.sh tests

# The Python packages that the tests use: readers of HDF5 and NWB, what the jobs redo, and what the package in python/ serves.
python: target/python/installed

target/python/installed: tests/python/requirements.txt
	python3 -m venv target/python
	target/python/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

check:
	cargo fmt --check
	shellcheck setup.sh .ci/run slurm/*.sh tests/*.sh tests/*/*.sh docker/*.sh benches/*.sh docs/pictures/*.sh
	cargo clippy --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps

# Licences, bans and sources of the dependencies, by deny.toml. What RustSec has to say of them needs a network:
# CONTRIBUTING.md, "A release".
deny: setup-tests
	for manifest in Cargo.toml tests/api/Cargo.toml; do \
	    PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny --manifest-path $$manifest --workspace --log-level error \
	        check --hide-inclusion-graph bans licenses sources || exit 1; \
	done

# The pages of docs/ as a book, in target/book.
book: setup-tests
	@target/tools/bin/mdbook build >target/book.log 2>&1; code=$$?; cat target/book.log; \
	[ $$code = 0 ] && ! grep -qE "WARN|ERROR" target/book.log

# Without MPI and HDF5: no libclang, no MPI library, no HDF5 in the tree, and it works. And with Parquet, which is not built in
# by default.
features: python
	cargo clippy --no-default-features --lib -- --deny warnings
	cargo clippy --no-default-features --features cli -- --deny warnings
	cargo test --no-default-features --features cli --lib --bins
	@! cargo tree --no-default-features --features cli --edges normal,build | grep -E "mpi-sys|hdf5|clang-sys"
	cargo clippy --features parquet -- --deny warnings
	cargo test --features parquet --test results -- parquet

# Two suites run at a time, the longest first. Instructions are counted where nothing else runs.
LONGEST := docker scenarios results guides behaviours kills
ALONE := counts
SUITES := $(basename $(notdir $(wildcard tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs)))
SUITES := $(LONGEST) $(filter-out $(LONGEST) $(ALONE),$(SUITES))

unit:
	cargo test --no-run
	cargo test --no-fail-fast --lib --bins $(ALONE:%=--test %)
	cargo test --doc
	@printf '%s\n' $(SUITES) | tests/suites.sh cargo target/suites

# The Python package: built in the folder of all other builds, before a guide's commands have no time to build it,
# installed in target/python, and tested there.
extension python-tests: export PATH := $(CURDIR)/target/python/bin:$(PATH)
extension python-tests: export VIRTUAL_ENV := $(CURDIR)/target/python
extension: setup-tests python
	cd python && maturin develop --quiet --locked

# As the suites in Rust.
PYTHON_LONGEST := deaths parallel behaviours
PYTHON_SUITES := $(patsubst test_%,%,$(basename $(notdir $(wildcard python/tests/test_*.py))))
PYTHON_SUITES := $(PYTHON_LONGEST) $(filter-out $(PYTHON_LONGEST),$(PYTHON_SUITES))

python-tests: extension
	cargo clippy --package rankpool-python -- --deny warnings
	cargo clippy --package rankpool-python --no-default-features -- --deny warnings
	cd python && ruff check --config pyproject.toml . ../benches/python && mypy --strict rankpool
	cd python && vermin --quiet --violations --target=3.9- rankpool tests
	cd python && pytest --quiet --doctest-modules rankpool
	@cd python && printf '%s\n' $(PYTHON_SUITES) | ../tests/suites.sh pytest ../target/suites/python
	cd python && maturin build --quiet --locked --no-default-features --out ../target/plain
	pip install --quiet --disable-pip-version-check --no-deps --upgrade --target target/plain/site target/plain/rankpool-*.whl
	@! ldd target/plain/site/rankpool/_rankpool.abi3.so | grep -E "libmpi|libhdf5"
	cd python/tests && PYTHONPATH=$(CURDIR)/target/plain/site pytest --quiet test_behaviours.py -k "serial or processes"

# Launches, an MPI that others have initialised, what dies, and a sample of the behaviours, on the MPI libraries that
# setup.sh has installed beside the system's. They wait for processes, and are built in half the time without
# optimisation.
STACK_BEHAVIOURS := comm-3-ranks
STACK_TESTS := launches guest
STACK_KILLS := openmpi

stacks: export CARGO_PROFILE_DEV_OPT_LEVEL := 0
stacks: setup-tests
	for mpiexec in target/stacks/*/bin/mpiexec; do \
	    bin=$(CURDIR)/$${mpiexec%/mpiexec}; \
	    echo "on the MPI in $$bin"; \
	    export PATH="$$bin:$(PATH)" MPICC="$$bin/mpicc" CARGO_TARGET_DIR="$${bin%/bin}/build"; \
	    suites="$(STACK_TESTS)"; \
	    case " $(STACK_KILLS) " in *" $$(basename $${bin%/bin}) "*) suites="kills $$suites" ;; esac; \
	    cargo build --examples && cargo test --no-run $$(printf -- '--test %s ' behaviours $$suites) && \
	    printf '%s\n' $$suites | tests/suites.sh cargo $$CARGO_TARGET_DIR/suites && \
	    cargo test --test behaviours -- $(STACK_BEHAVIOURS) || exit 1; \
	done

# In the folder of the tests, where the dependencies are built already.
package:
	CARGO_TARGET_DIR=$(CURDIR)/target cargo package --allow-dirty

bench: setup
	benches/run.sh

# The decoders against random bytes, a minute each: journals, and frames from the network.
fuzz: setup
	command -v cargo-fuzz || cargo install --locked cargo-fuzz
	for target in journal wire; do \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=60 -rss_limit_mb=1024 -malloc_limit_mb=512 || exit 1; \
	done

clean:
	cargo clean
