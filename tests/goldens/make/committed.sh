#!/bin/sh
# Makes the committed goldens again: make/committed.sh [NAME...], from tests/goldens. PYTHON has requirements.txt
# installed; LIKE is where configurations, tokenizers and cases come from: the committed folders themselves.
set -eu
: "${PYTHON:=python3}" "${LIKE:=.}"
export OMP_NUM_THREADS=1

text="--hidden 60 --heads 3 --kv-heads 1 --layers 3 --mlp 88"
other_head="--hidden 42 --heads 3 --kv-heads 1 --head-size 20 --layers 3 --mlp 72"
stretched="--hidden 42 --heads 3 --kv-heads 1 --head-size 20 --layers 2 --mlp 72"
seeing="--hidden 40 --heads 2 --kv-heads 1 --layers 2 --mlp 72 --vision-hidden 60 --vision-heads 3 --vision-layers 3
 --vision-mlp 76 --image 32 --patch 8"
pictures="--cases wide one_pixel thin exif6 two_images"

make() {  # NAME OPTION...
    name=$1; shift
    [ -z "$wanted" ] || case " $wanted " in *" $name "*) ;; *) return 0 ;; esac
    "$PYTHON" make.py "$name" --like "$LIKE/$name" "$@"
}
wanted="$*"

make text-llama-linear $text
make text-llama3 $other_head
make text-mistral-window $other_head
make text-qwen2 $text
make text-internlm2 $text
make text-phi3 $text
make text-phi3-longrope $text
make text-seed-oss $other_head
make text-llama-dynamic $stretched
make text-qwen2-yarn $stretched
make text-llama-awq --hidden 64 --heads 2 --kv-heads 1 --layers 2 --mlp 192 --group 64
make text-llama-gptq --hidden 96 --heads 3 --kv-heads 1 --layers 2 --mlp 160 --group 32
make text-llama-gptq-act-order --hidden 64 --heads 4 --kv-heads 2 --layers 2 --mlp 192 --group 32
make text-llama-nf4 --hidden 64 --heads 4 --kv-heads 1 --layers 2 --mlp 192
make text-llama-nf4-double --hidden 64 --heads 2 --kv-heads 2 --layers 2 --mlp 320
make llava-1.6-vicuna $seeing $pictures
make llava-1.6-mistral $seeing --shards 4 $pictures
make internvl2-internlm2 $seeing $pictures
make internvl2-qwen2 $seeing --max-tiles 12 --image 16 --patch 4 $pictures
make internvl2-llama $seeing $pictures
make internvl2-phi3 $seeing $pictures
make internvl2-qk-norm $seeing --hidden 42 --heads 3 --cases wide one_pixel thin
make llava-1.6-mistral-original $seeing --cases wide one_pixel thin two_images
make internvl3-hf $seeing $pictures
make internvl2.5-hf-llama $seeing --hidden 42 --heads 3 --vision-layers 2 --image 28 --patch 14 --max-tiles 12 --qk-norm \
    --cases wide one_pixel two_images
make internlm-xcomposer2-vl $seeing --image 40 $pictures
make llava-1.5-lora --base ../llava-1.5 --rank 4
make llava-1.5-lora-old-names --base ../llava-1.5 --rank 4 --old-names
