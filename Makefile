# Everything a visitor or a developer does here. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# processes that share the tests
JOBS ?= 2
INSTALLED := $(VENV)/installed
# on a machine with a GPU: the Python that has CuPy, where nothing of this project is installed
GPU_PYTHON ?= python3
GPU_RUN := PYTHONPATH=.:backends:spec:benchmarks$(if $(PYTHONPATH),:$(PYTHONPATH)) $(GPU_PYTHON)

.PHONY: help demo test laws laws-long vectors vectors-check lint types format bench bench-pets bench-browser playground lessons site train train-pets torture gpu-test gpu-bench gpu-run gpu-train gpu-train-pets results scoreboard lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# start a run, or resume it if it was stopped: $(call run,NAME,EXPERIMENT)
run = $(RUN) -m refca.train --out runs/$(1) \
  $$(test -e runs/$(1)/checkpoint.safetensors && echo --resume || echo --experiment $(2))

# the same on a GPU; a run stopped after MINUTES has written its checkpoint, which is no error
PETS ?= pets-depthwise-32-instance
MINUTES ?= 0
GPU_BACKEND := $(or $(BACKEND),cupy)
gpu_run = timeout --foreground --preserve-status $(MINUTES)m env $(GPU_RUN) -m refca.train --out runs/$(1) \
  --backend $(GPU_BACKEND) \
  $$(test -e runs/$(1)/checkpoint.safetensors && echo --resume || echo --experiment $(2)) || test $$? -eq 130

demo: $(INSTALLED)  ## train on small digits, measure and draw: runs/demo, three to six minutes
	@$(call run,demo,demo)
	$(RUN) -m refca.evaluate runs/demo

test: $(INSTALLED)  ## run all tests and laws; tests on real data need REFCA_DATA
	$(RUN) -m pytest -q -n $(JOBS)

laws: $(INSTALLED)  ## run the laws on every backend; BACKEND=mypkg.mymodule for your own
	$(RUN) -m pytest -q -n $(JOBS) --pyargs refca_spec $(if $(BACKEND),--refca-backend $(BACKEND))

laws-long: $(INSTALLED)  ## run the laws on 1,000 random examples each; prints the seed; SEED=N repeats a run
	$(RUN) -m pytest -q --pyargs refca_spec --refca-examples 1000 --refca-seed $(or $(SEED),random) $(if $(BACKEND),--refca-backend $(BACKEND))

vectors: $(INSTALLED)  ## write the test vectors anew, after a change of the specification
	$(RUN) -m refca_spec.vectors

vectors-check: $(INSTALLED)  ## say whether writing the test vectors anew would change anything
	$(RUN) -m refca_spec.vectors --check

lint: $(INSTALLED)  ## check style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(INSTALLED)  ## check types
	$(RUN) -m mypy

format: $(INSTALLED)  ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(INSTALLED)  ## compare speed with PyTorch and JAX (installs them)
	$(RUN) -m pip install --quiet -r benchmarks/requirements.txt
	$(RUN) benchmarks/digits.py

bench-pets: $(INSTALLED)  ## compare the speed of segmentation with PyTorch and JAX (installs them)
	$(RUN) -m pip install --quiet -r benchmarks/requirements.txt
	$(RUN) benchmarks/pets.py

bench-browser:  ## compare the playground's engine with TensorFlow.js, in Chromium under node
	npm ci --prefix benchmarks/browser --ignore-scripts --no-audit --no-fund
	node benchmarks/browser/speed.mjs

playground: $(INSTALLED)  ## draw on the cells in your browser
	$(RUN) -m refca.playground

lessons: $(INSTALLED)  ## run the lessons and write them as notebooks with their pictures: build/lessons
	$(RUN) tools/build_lessons.py build/lessons

# The site shows the lessons that run in seconds with their outputs, and the others too where `make lessons` has run.
SHOWN := build/lessons/1_one_cell.ipynb build/lessons/5_is_it_right.ipynb
site: $(INSTALLED) $(SHOWN)  ## build the site into build/site, which needs no server: open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet -f tools/site/mkdocs.yml

build/lessons/%.ipynb: lessons/%.py | $(INSTALLED)
	$(RUN) tools/build_lessons.py build/lessons $(firstword $(subst _, ,$*))

train: $(INSTALLED)  ## train the article's L2 + noise model on MNIST, 100,000 steps; resumes a stopped run
	@$(call run,digits-l2-noise,digits-l2-noise)

train-pets: $(INSTALLED)  ## train on photographs, measure and draw: runs/pets-48-small, about half an hour
	@$(call run,pets-48-small,pets-48-small)
	$(RUN) -m refca.evaluate runs/pets-48-small --at 40,400

torture: $(INSTALLED)  ## kill runs, damage files, fill disks, type nonsense; FLAGS="--minutes 2 --kills 60 --files 2000"
	PYTHONPATH=tools $(RUN) -m torture $(FLAGS)

gpu-test:  ## run the laws on a GPU with GPU_PYTHON (python3), without installing; FLAGS="--minutes 5"
	$(GPU_RUN) -m gpu.laws $(FLAGS)

gpu-bench:  ## compare speed on a GPU with installed PyTorch and JAX; FLAGS="--only digits"
	$(GPU_RUN) -m gpu.bench $(FLAGS)

gpu-run:  ## check, benchmark and train on a GPU that is lent for nine minutes; PART=more or big
	GPU_PYTHON=$(GPU_PYTHON) bash benchmarks/gpu/run.sh $(or $(PART),first)

gpu-train:  ## train on a GPU, then measure; resumes a stopped run; MINUTES=20 stops after 20 minutes
	@$(GPU_RUN) -m gpu.check
	@$(call gpu_run,gpu-digits-l2-noise,digits-l2-noise)
	$(GPU_RUN) -m refca.evaluate runs/gpu-digits-l2-noise --backend $(GPU_BACKEND)

gpu-train-pets:  ## train on photographs on a GPU, a million steps; PETS=pets-48-small for a short run
	@$(GPU_RUN) -m gpu.check
	@$(call gpu_run,gpu-$(PETS),$(PETS))
	$(GPU_RUN) -m refca.evaluate runs/gpu-$(PETS) --backend $(GPU_BACKEND) --at 40,400

results: $(INSTALLED)  ## rebuild tables and figures of results/ from its CSV and JSON files
	$(RUN) tools/results/rebuild.py
	$(RUN) tools/results/segmentation.py rebuild

# an environment of its own: published libraries and the frameworks that they need
SCOREBOARD_VENV ?= .venv-scoreboard
SCOREBOARD_RUN := $(SCOREBOARD_VENV)/bin/python
scoreboard: $(INSTALLED) $(SCOREBOARD_VENV)/installed  ## try published libraries on the laws: docs/scoreboard.md
	$(SCOREBOARD_RUN) tools/scoreboard/run.py
	$(RUN) tools/scoreboard/page.py

$(SCOREBOARD_VENV)/installed: $(wildcard tools/scoreboard/requirements*.txt)
	$(PYTHON) -m venv $(SCOREBOARD_VENV)
	$(SCOREBOARD_RUN) -m pip install --quiet --disable-pip-version-check --editable '.[spec]' threadpoolctl \
	  -r tools/scoreboard/requirements.txt
	$(SCOREBOARD_RUN) -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
	  -r tools/scoreboard/requirements-unchecked.txt
	@touch $@

lock:  ## choose new versions of all dependencies (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --no-annotate --no-header \
	  --extra dev pyproject.toml --output-file requirements.lock

clean:  ## remove the environment and caches, but no runs
	rm -rf $(VENV) $(SCOREBOARD_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "refca needs Python 3.11 or later; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
