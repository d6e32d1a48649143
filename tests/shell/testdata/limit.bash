# BASH_ENV of the scripts under test: writes the functions that are entered to
# $SHELL_TRACE, and takes from a newer bash what 3.2 has not.
if ((BASH_VERSINFO[0] > 3)); then
    enable -n mapfile readarray
    declare() { refuse_options declare "$@" && builtin declare "$@"; }
    refuse_options() {
        [[ ! ${2:-} =~ ^-[a-zA-Z]*[AgnluI] ]] || {
            echo "$1: $2: invalid option (bash 3.2)" >&2
            exit 2
        }
    }
    wait() { [[ ${1:-} != -[nfp] ]] && builtin wait "$@"; }
    export BASH_COMPAT=3.2
fi
trap '[[ -z ${FUNCNAME[0]:-} ]] || echo "${BASH_SOURCE[0]} ${FUNCNAME[0]}" >>"$SHELL_TRACE"' DEBUG
set -o functrace
