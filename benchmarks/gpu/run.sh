#!/bin/bash
# One run on a machine with a GPU that is lent for some minutes, from the root of a checkout:
#
#     bash benchmarks/gpu/run.sh [first|more|big]      (make gpu-run PART=first)
#
# first: check the kernels, run compute-sanitizer and the laws, fill the table of the benchmark, then train on
# photographs in the time that is left. more: go on training, and measure. big: time the batch of 4,096 digits.
# Every part has its own limit, writes into $OUT, and does not stop the parts after it. Exit code 2 and one sentence
# without a GPU, 1 if anything failed.
#
# What the machine lacks is carried in carried/: site/ (pip install --no-deps --target carried/site autograd pooch
# platformdirs), data/ (oxford_pets/pets_96.npz) and resume/ (checkpoint.safetensors of an earlier run, with
# metrics.csv and settings.toml).
set -uo pipefail
T0=$(date +%s); LIMIT=${LIMIT:-535}; OUT=${OUT:-out}; STATUS=0
now() { echo $(($(date +%s) - T0)); }
say() { echo "== $(now) s: $*"; }
fail() { say "failed: $*"; STATUS=1; }
PYTHON=${GPU_PYTHON:-python3}
R=$PWD; export PYTHONPATH=$R/carried/site:$R:$R/backends:$R/spec:$R/benchmarks PYTHONUNBUFFERED=1
export REFCA_DATA=${REFCA_DATA:-$R/carried/data} TORCHINDUCTOR_COMPILE_THREADS=1 OMP_NUM_THREADS=2
case "${1:-first}" in first | more | big) ;; *) echo "run.sh takes first, more or big, got $1" >&2; exit 2 ;; esac
$PYTHON -m gpu.check --cupy || exit 2
mkdir -p "$OUT"; SCRATCH=$(mktemp -d); export MPLCONFIGDIR=$SCRATCH/mpl; GO=$SCRATCH/go
PETS=${PETS:-pets-depthwise-32-instance}; LEARNING_RATE=${LEARNING_RATE:-1e-3}; RUN=runs/gpu-pets
exec > >(tee -a "$OUT/run.log") 2>&1

train() {  # SECONDS; goes on where it was stopped
  local how=(--experiment "$PETS" --learning-rate "$LEARNING_RATE"); [ -e $RUN/checkpoint.safetensors ] && how=(--resume)
  timeout --foreground --preserve-status -k 20 "$1" $PYTHON -m refca.train --out $RUN --backend cupy "${how[@]}" \
    --checkpoint-every 20000 >"$OUT/train.log" 2>&1
  local code=$?; echo "train: exit $code (130: stopped, with a checkpoint)"; [[ $code =~ ^(0|130)$ ]] || fail training
  tr '\r' '\n' <"$OUT/train.log" | tail -n 2; tail -n 1 $RUN/metrics.csv
}
measure() {  # SECONDS
  timeout -k 5 "$1" $PYTHON -m refca.evaluate $RUN --backend cupy --at 40,400 >"$OUT/evaluate.log" 2>&1
  local code=$?; echo "evaluate: exit $code"; [ $code = 0 ] || fail measuring; tr '\r' '\n' <"$OUT/evaluate.log" | tail -n 5
}
pack() {  # few files, as few may come back
  cp -f $RUN/checkpoint.safetensors "$OUT/" 2>/dev/null
  mkdir -p runs/logs; mv -f "$OUT"/{train.log,evaluate.log,bench.txt} runs/logs/ 2>/dev/null
  tar czf "$OUT/runs.tgz" --exclude='*.safetensors' --exclude='*.gif' runs; ls -l "$OUT"
}
bench() {  # in a process group of its own, so that all of it can be ended
  setsid $PYTHON -m gpu.bench --out "$OUT/bench.json" --go "$GO" --budget "$1" --minutes 6 >"$OUT/bench.txt" 2>&1 &
  BENCH=$!
}
first() {
  say "what there is"
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,memory.total --format=csv,noheader
  bench 180
  say "modules"; timeout -k 5 90 $PYTHON -m gpu.warm
  say "smoke"; timeout -k 5 100 $PYTHON -m gpu.smoke; local smoke=$?
  if [ $smoke != 0 ]; then  # clusters may be what is wrong: what follows does without them
    fail "smoke ($smoke): from here on without clusters"
    export REFCA_CUPY_CLUSTERS=0
    kill -- -$BENCH; wait $BENCH; bench 150
    timeout -k 5 60 $PYTHON -m gpu.smoke --tiny || export REFCA_CUPY_TENSOR_CORES=0  # then these may be what is wrong
  fi
  say "compute-sanitizer, beside it the laws"; local tools="" tool
  for tool in memcheck racecheck synccheck; do
    timeout -k 5 80 compute-sanitizer --tool $tool --error-exitcode 9 $PYTHON -m gpu.smoke --tiny \
      >"$SCRATCH/$tool.txt" 2>&1 & tools+=" $!"
  done
  timeout -k 5 115 $PYTHON -m gpu.laws --minutes 1.7 -p no:cacheprovider >"$OUT/laws.txt" 2>&1 || fail laws
  tail -n 14 "$OUT/laws.txt"; tools_failed=0
  for tool in $tools; do wait "$tool" || tools_failed=1; done
  [ $tools_failed = 0 ] || fail "a sanitizer"
  for tool in memcheck racecheck synccheck; do
    echo "$tool: $(grep -hE 'SUMMARY|all well|failed:' "$SCRATCH/$tool.txt" | tr '\n' ' ')"
  done
  cat "$SCRATCH"/{memcheck,racecheck,synccheck}.txt | head -c 2000000 >"$OUT/sanitizer.txt"
  say "benchmark"
  until grep -qs 'ALL READY' "$OUT/bench.txt" || [ "$(now)" -gt 230 ]; do sleep 1; done
  touch "$GO"; timeout 90 tail --pid=$BENCH -f /dev/null || kill -- -$BENCH
  wait $BENCH || fail benchmark
  cat "$OUT/bench.txt"
}
learn() {
  mkdir -p $RUN; [ -e $RUN/checkpoint.safetensors ] || cp carried/resume/* $RUN/ 2>/dev/null
  local s=$((LIMIT - $(now) - 80)); say "training"; train $((s > 30 ? s : 30)); say "measuring"; measure 65
}
case "${1:-first}" in
  first) first; learn ;;
  more) learn ;;
  big) timeout $((LIMIT - 10)) $PYTHON -m gpu.bench --only large --out "$OUT/bench-large.json" --budget 120 \
    --minutes $(((LIMIT - 15) / 60)) | tee "$OUT/bench-large.txt" || fail benchmark ;;
esac
pack; rm -rf "$SCRATCH"; say "done"; exit $STATUS
