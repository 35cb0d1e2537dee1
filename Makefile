# `make demo` and `make test` work on a machine that has git, make and Python 3.11, and nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TORCH := torch==2.13.0

# Compiled bytecode makes every start three times faster; some environments forbid it.
unexport PYTHONDONTWRITEBYTECODE
export HF_HUB_OFFLINE := 1

.PHONY: help install demo test lint format docs clean

help:
	@echo "make demo    install, then run the main job on the model that comes with the package"
	@echo "make test    install, then run every test"
	@echo "make lint    check style, formatting and types"
	@echo "make format  rewrite the sources in the project's style"
	@echo "make docs    write the pages that are made from the schema"
	@echo "make clean   remove the virtual environment and caches"

install: $(READY)

# Torch comes first and alone, as the pinned version: nothing later may choose another build of it.
$(READY): pyproject.toml constraints-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints-dev.txt -e '.[dev]'
	touch $@

# Every line is a command of the manual, as a user would type it.
demo: $(READY)
	rm -rf demo
	$(BIN)/maquette world subject --index 3 --count 5 --token sks --out demo/photos
	$(BIN)/maquette train demo/photos --preset maquette64-subject-lora --out demo/run
	$(BIN)/maquette generate "a photo of sks mug on the beach" "a photo of sks mug in the city" \
	    "a photo of sks mug in the desert" "a photo of sks mug on the grass" -n 4 --adapter demo/run --out demo/pictures
	@echo "The report: demo/run/report.html"
	@echo "The grid:   demo/pictures/grid.png"

# Two processes of one thread each: tests are small, and threads would only wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ty check

format: $(READY)
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

docs: $(READY)
	$(BIN)/python -c "from pathlib import Path; from maquette.config.reference import write_reference as w; w(Path('docs'))"

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
