# Set-up goes into .venv: with uv where it is there, otherwise with venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export UV_COMPILE_BYTECODE := 1

# TORCH=cpu: PyTorch without CUDA, which PyPI has not for Linux, from PyTorch's own index
TORCH ?=
ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH=$(TORCH): must be cpu, or empty for the build of the package index)
endif
UV_TORCH := $(if $(TORCH),--torch-backend cpu)
PIP_TORCH := $(if $(TORCH),--extra-index-url https://download.pytorch.org/whl/cpu)

# what needs more than minutes, or real processes, is marked: make soak
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: study test soak ui check features clean
study: $(STAMP)
	$(BIN)/python studies/fedavg_noniid.py $(ARGS)

test: $(STAMP)
	$(PYTEST) -m "not soak" $(ARGS)

soak: $(STAMP)
	$(PYTEST) -m soak $(ARGS)

ui: $(STAMP)
	$(BIN)/python -m fl_core.study.ui --port $(or $(PORT),5000)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

features: $(STAMP)
	$(BIN)/python -m fl_core.models.features $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info

$(STAMP): pyproject.toml setup.py constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  echo "setting up $(VENV) with uv (a few minutes the first time)"; \
	  uv venv -q --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install -q --python $(BIN)/python $(UV_TORCH) -c constraints.txt -e '.[dev]'; \
	else \
	  echo "setting up $(VENV) with pip (a few minutes the first time)"; \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_TORCH) \
	    -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@
