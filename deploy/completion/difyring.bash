# bash completion of difyring, made by deploy/make_completion of the program's own help; do not edit

_difyring()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= words= values= files=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "run check ring status drain enable reload config forget explain vrrp-config vip-guard vip-relay keygen version help --version --help" -- "$word"))
        return
    fi
    case ${COMP_WORDS[1]} in
    run)
        options="--config --help -c -h"
        files=" -c --config "
        ;;
    check)
        options="--config --host --format --schema --help -c -H -s -h"
        files=" -c --config "
        values=" --format "
        ;;
    ring)
        options="--config --app --user --down --was --help -c -a -u -d -w -h"
        files=" -c --config -w --was "
        values=" -a --app -u --user -d --down "
        ;;
    status)
        options="--url --config --ca --insecure --json --check --watch --help -u -c -h"
        files=" -c --config --ca "
        values=" -u --url "
        ;;
    drain)
        options="--now --hold --host --node --url --config --ca --insecure --help -u -c -h"
        files=" -c --config --ca "
        values=" --hold --host -u --url "
        ;;
    enable)
        options="--host --node --url --config --ca --insecure --help -u -c -h"
        files=" -c --config --ca "
        values=" --host -u --url "
        ;;
    reload)
        options="--dry-run --force --url --config --ca --insecure --help -n -f -u -c -h"
        files=" -c --config --ca "
        values=" -u --url "
        ;;
    config)
        options="--secrets --url --config --ca --insecure --help -u -c -h"
        words=" show diff "
        files=" -c --config --ca "
        values=" -u --url "
        ;;
    forget)
        options="--url --config --ca --insecure --help -u -c -h"
        files=" -c --config --ca "
        values=" -u --url "
        ;;
    explain)
        options="--url --config --ca --insecure --app --user --method --path --address --json --help -u -c -h"
        files=" -c --config --ca "
        values=" -u --url --app --user --method --path --address "
        ;;
    vrrp-config)
        options="--config --help -c -h"
        files=" -c --config "
        ;;
    vip-guard)
        options="--socket --help -s -h"
        files=" -s --socket "
        ;;
    vip-relay)
        options="--role --interface --address --peer --port --window --bound --help -h"
        values=" --role --interface --address --peer --port --window "
        ;;
    keygen)
        options="--help -h"
        ;;
    version)
        options="--help -h"
        ;;
    help)
        options=""
        words=" run check ring status drain enable reload config forget explain vrrp-config vip-guard vip-relay keygen version "
        ;;
    esac
    if [[ $files == *" $before "* ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$word"))
    elif [[ $values == *" $before "* ]]; then
        return
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}
complete -F _difyring difyring
