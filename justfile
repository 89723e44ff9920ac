# Recipes for building, testing and showing Untangle. Each does its own set-up and can be run again.

set shell := ["bash", "-euo", "pipefail", "-c"]

# This list
help:
    @just --list --unsorted --list-heading $'Untangle: dense activations go in; named, tested, manipulable concepts come out.\n\n'

# Put libtorch and cmake into .deps/ (does nothing the second time)
setup:
    @python3 scripts/setup.py

# Build target/release/untangle
build: setup
    cargo build --release --locked

# Put target/dist/untangle, optimised as a whole: the binary to hand out, in several minutes
dist: setup
    cargo build --profile dist --locked

# Put target/wheels/untangle-….whl: the program for people who have Python and no Rust
wheel: dist
    python3 -m pip --disable-pip-version-check wheel --no-deps --wheel-dir target/wheels ./python

# From text to a steered story on the bundled model, in a few minutes
demo: build
    target/release/untangle demo

# All tests of the workspace
test: setup
    cargo test --release --workspace --locked

# The dashboard and the workbench in a real browser: Chromium, with playwright-core and axe-core in .deps/browser; needs Node and npm
test-browser: build
    tests/browser/run

# The server by the clients of others: openai, schemathesis, lm-evaluation-harness, in an environment of its own (.venv-serve)
test-serve: build
    tests/serve/run

# The wheel, installed and used in an environment of its own (.venv-wheel)
test-wheel: build
    tests/wheel/run

# The notebooks, executed in an environment of its own (.venv-notebooks); --write keeps their output
notebooks *arguments: build
    notebooks/run {{ arguments }}

# Format, clippy and documentation, warnings denied
lint: setup
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo doc --release --workspace --no-deps --locked --config 'build.rustdocflags = ["-Dwarnings"]'

# Seconds per training step beside the machine's limit
bench *sizes: setup
    cargo build --release --locked --workspace --bin untangle-bench
    target/release/untangle-bench {{ sizes }}

# Seconds per step of the architectures that choose by number, beside topk
bench-architectures *sizes: setup
    cargo build --release --locked --workspace --bin architectures
    target/release/architectures {{ sizes }}

# Training beside SAELens and sparsify, in an environment of its own (.venv-bench-train); --help lists the options
bench-train *options: build
    bench/train/run {{ options }}

# What every default of training is worth, one changed at a time, in half an hour of one core; --help lists the options
bench-defaults *options: build
    python3 bench/train/defaults.py {{ options }}

# What the bundled organism's stages, concepts and features measure, in half an hour
bench-organism: build
    bench/organism

# Tokens per second of capturing beside TransformerLens and transformers, in an environment of its own (.venv-bench)
bench-capture *arguments: setup
    cargo build --release --locked --workspace --bin capture
    bench/capture/run {{arguments}}

# Reading a store in random order beside the disk's sequential rate, on a file of 4 GiB
bench-read *arguments: setup
    cargo build --release --locked --workspace --bin read
    target/release/read {{arguments}}

# Tokens per second of generation beside transformers, in an environment of its own (.venv-bench)
bench-generation *arguments: setup
    cargo build --release --locked --workspace --bin generation
    bench/generation/run {{ arguments }}

# What steering adds to the time of generation, one feature and one of its own for every text of a batch
bench-steering *sizes: setup
    cargo build --release --locked --workspace --bin steering
    target/release/steering {{ sizes }}

# Whether the scores of output labels predict what the features of a dictionary of the organism do: just bench-effects SAE FEATURES.db
bench-effects sae features *texts: setup
    cargo build --release --locked --workspace --bin effects
    target/release/effects {{ sae }} {{ features }} {{ texts }}

# How many features of a dictionary of the organism get a label that names what they match: just bench-labels SAE FEATURES.db
bench-labels sae features: setup
    cargo build --release --locked --workspace --bin labels
    target/release/labels {{ sae }} {{ features }}

# Describing the features of a dictionary beside the encoder's product alone: just bench-features [ROWS] [FEATURES] [K] [ROUNDS]
bench-features *sizes: setup
    cargo build --release --locked --workspace --bin features
    target/release/features {{ sizes }}

# Describing every feature of a dictionary beside SAEDashboard's runner, in an environment of its own (.venv-bench-features)
bench-saedashboard *arguments: build
    bench/features/run {{ arguments }}

# How long the workbench has one wait, at GPT-2 small's shape and under two hundred clients, in five minutes
bench-serve *arguments: build
    cargo build --release --locked --workspace --bin serve
    target/release/serve {{arguments}}

# Agreement with the Python references, in an environment of its own (.venv-parity)
parity: build
    tests/parity/run

# The output that README.md shows, made again by running its commands, in ten minutes; --check only says what differs
readme *options: build
    python3 scripts/readme.py {{ options }}

# Fuzz targets of the readers, SECONDS each: just fuzz 600 config tokenizer; needs a nightly compiler
fuzz *arguments: build
    fuzz/run {{ arguments }}

# What a change must pass: tests, then lint
ci: test lint
