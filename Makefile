# `make demo` reads a photo, `make test` runs every check, `make check` the quick ones before a commit, `make docs` builds
# the site into site/. All of them make .venv first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The processor build of torch: a plain requirement would pull several GB of CUDA on Linux.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PHOTO  ?= assets/astronaut.jpg

.PHONY: demo test check coverage attack lowest docs install install-dev clean

demo: $(VENV)/light
	$(BIN)/pfvit predict $(PHOTO) --picture out
	@echo "The picture of face, reconstruction, poker face and expression map is in out/"

test: $(VENV)/dev
	scripts/browser
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

check: $(VENV)/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

coverage: $(VENV)/dev
	scripts/browser
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest --numprocesses 2 --dist loadscope --cov --cov-report=term

attack: $(VENV)/dev
	$(BIN)/python benchmarks/attack.py
	$(BIN)/python benchmarks/guided.py
	$(BIN)/python benchmarks/refused.py
	$(BIN)/python benchmarks/serving.py --soak 10

lowest:
	scripts/lowest

docs: $(VENV)/dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/docs
	@echo "The site is in site/: python -m http.server --directory site"

install: $(VENV)/light
install-dev: $(VENV)/dev

$(VENV)/light: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/light
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) out site .cache
