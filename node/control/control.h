/* control: the loop that runs a node: configuration, snapshots, health, status, signals. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

/* Runs a node in the foreground until it is told to stop. Returns the exit code: 0 after a clean
 * stop, 1 when the configuration is bad or the node could not start (the reason is on standard
 * error). */
int control_run(const char *config_file);

#endif
