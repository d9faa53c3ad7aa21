/* cli_run: `difyring run`. */
#include "cli/cli.h"
#include "control/control.h"

static const char help[] =
    "usage: difyring run -c FILE\n"
    "\n"
    "Runs a node in the foreground.\n"
    "\n"
    "  -c, --config FILE  the configuration; `-` is standard input, if that is a file\n"
    "  -h, --help         this text\n"
    "\n"
    "Signals: HUP reads the configuration again, USR1 opens the log files again, TERM and INT let\n"
    "open requests finish and then end the node; a second one ends it at once.\n"
    "Exit codes: 0 stopped, 1 bad configuration or could not start, 2 bad usage.\n";

int cli_run(int argc, char **argv)
{
    const char *file = NULL;
    int code = cli_only_config(argc, argv, help, &file);
    return code >= 0 ? code : control_run(file);
}
