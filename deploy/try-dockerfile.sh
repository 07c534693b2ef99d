#!/usr/bin/env bash
# Runs the steps of a Dockerfile without a container engine: every stage is a copy of a Debian root
# made by debootstrap, every RUN a command in it. Then starts what the image would start, as its
# user and without write access to its root, asks its health, asks the model, and stops it.
#
#     deploy/try-dockerfile.sh FOLDER [DOCKERFILE]      default: deploy/Dockerfile
#
# FOLDER gets the base root (kept: a second run starts from it) and one root per stage, 3 GB in all.
# Needs root, debootstrap and unshare; MOERING_MIRROR names another Debian mirror. Its mounts are
# made in a namespace of its own and end with it. Not a builder: it knows the instructions that our
# Dockerfiles use, and refuses any other.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
fi
if [ "${MOERING_TRY_INSIDE:-}" != yes ]; then
    exec env MOERING_TRY_INSIDE=yes unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
dockerfile=${2:-deploy/Dockerfile}

fail() {
    echo "try-dockerfile.sh: $*" >&2
    exit 1
}

base=$folder/base
if [ ! -e "$base.done" ]; then
    rm -rf "$base"
    debootstrap --variant=minbase bookworm "$base" "${MOERING_MIRROR:-http://deb.debian.org/debian}"
    touch "$base.done"
fi

# ---- the state of the stage under way ----
root='' stage_number=0 work=/ user=''
shell=(/bin/sh -c) variables=() entrypoint=() command=() health=()
declare -A arguments=([BASE]=debian:bookworm-slim) stages=()

# One word per line of a JSON list of plain strings, which are quoted words of bash too.
words_of() {
    local list=$1
    list=${list#"["}
    list=${list%"]"}
    eval "printf '%s\n' ${list//,/ }"
}

# $NAME and ${NAME} of arguments and variables, as Docker puts them in outside RUN.
expand() {
    local text=$1 name
    for name in "${!arguments[@]}"; do
        text=${text//"\${$name}"/${arguments[$name]}}
        text=${text//"\$$name"/${arguments[$name]}}
    done
    printf '%s' "$text"
}

# in_root WORD...: as the stage's commands see the world; exec_in_root ends this shell in them.
in_root() { (exec_in_root "$@"); }
exec_in_root() {
    local given=() name
    for name in "${!arguments[@]}"; do given+=("$name=${arguments[$name]}"); done
    exec chroot ${user:+--userspec="$user"} "$root" /usr/bin/env -i \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        "${given[@]}" "${variables[@]}" /bin/sh -c "cd '$work' && exec \"\$@\"" sh "$@"
}

do_from() {
    local from as=''
    read -r from _ as <<<"$(expand "$1")"
    stage_number=$((stage_number + 1))
    as=${as:-final}
    root=$folder/$as work=/ user=''
    shell=(/bin/sh -c) variables=() entrypoint=() command=() health=()
    rm -rf "$root"
    cp -ax "${stages[$from]:-$base}" "$root"
    stages[$as]=$root
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
}

do_copy() {
    local words target
    read -r -a words <<<"$(expand "$1")"
    target=${words[-1]}
    unset 'words[-1]'
    case "$target" in /*) target=$root$target ;; *) target=$root$work/$target ;; esac
    if [ ${#words[@]} -eq 1 ] && [ -d "${words[0]}" ]; then
        mkdir -p "$target"
        cp -a "${words[0]}/." "$target"
        return
    fi
    mkdir -p "$target"
    cp -a "${words[@]}" "$target"
}

do_run() {
    local line=$1 from='' source='' target='' option
    if [[ $line == --mount=* ]]; then
        option=${line%% *}
        line=${line#* }
        for option in $(tr ',' ' ' <<<"${option#--mount=}"); do
            case "$option" in
            from=*) from=${option#from=} ;;
            source=*) source=${option#source=} ;;
            target=*) target=${option#target=} ;;
            type=bind) ;;
            *) fail "unknown option $option of --mount" ;;
            esac
        done
        mkdir -p "$root$target"
        mount --bind "${stages[$from]}$source" "$root$target"
    fi
    in_root "${shell[@]}" "$line"
    if [ -n "$target" ]; then
        umount "$root$target"
        rmdir "$root$target"
    fi
}

do_health() {
    local line=$1
    while [[ $line == --* ]]; do line=${line#* }; done
    mapfile -t health < <(words_of "${line#CMD }")
}

# An instruction with its continuation lines joined.
step() {
    local name=$1 rest=$2
    printf '== %s %s\n' "$name" "${rest:0:110}"
    case "$name" in
    ARG) [ -n "${arguments[${rest%%=*}]:-}" ] || arguments[${rest%%=*}]=${rest#*=} ;;
    FROM) do_from "$rest" ;;
    SHELL) mapfile -t shell < <(words_of "$rest") ;;
    WORKDIR) work=$rest && mkdir -p "$root$rest" ;;
    COPY) do_copy "$rest" ;;
    ADD) curl -fsSLo "$root$(cut -d' ' -f2 <<<"$rest")" "$(expand "${rest%% *}")" ;;
    RUN) do_run "$rest" ;;
    ENV) read -r -a words <<<"$rest" && variables+=("${words[@]}") ;;
    USER) user=$rest ;;
    HEALTHCHECK) do_health "$rest" ;;
    ENTRYPOINT) mapfile -t entrypoint < <(words_of "$rest") ;;
    CMD) mapfile -t command < <(words_of "$rest") ;;
    LABEL | EXPOSE | STOPSIGNAL) ;;
    *) fail "$dockerfile: unknown instruction $name" ;;
    esac
}

start=$SECONDS
joined=''
while IFS= read -r line; do
    if [[ $line =~ ^[[:space:]]*# ]] || [[ -z $line && -z $joined ]]; then continue; fi
    if [[ $line == *\\ ]]; then
        joined+=${line%\\}
        continue
    fi
    joined+=$line
    step "${joined%% *}" "${joined#* }" </dev/null
    joined=''
done <"$dockerfile"
size=$(du -sxh "$root" | cut -f1)
echo "== $stage_number stages in $((SECONDS - start)) s; the last root: $size"

# ---- what the image starts ----
mount -o remount,ro,bind "$root"
exec_in_root "${entrypoint[@]}" "${command[@]}" &
server=$!
for _ in $(seq 120); do
    if in_root "${health[@]}" >/dev/null 2>&1; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the server ended"
    sleep 0.5
done
in_root "${health[@]}" || fail "no health within a minute"
in_root "${entrypoint[@]}" run -p $'Q: What is 45 + 37?\nA:' -n 16 --temperature 0
if in_root /bin/sh -c 'echo x >/models/x' 2>/dev/null; then fail "the root can be written"; fi
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
echo "== healthy, answered, stopped with 0"
