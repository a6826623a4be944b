/*
 * The program: its verbs, and the process that `run` makes. Everything below
 * the gate is owned from here.
 */
#ifndef WEIR_APP_APP_H
#define WEIR_APP_APP_H

#include <stdio.h>

/* Exit statuses, a contract with scripts (docs/operations.md; 64 and 78 as in sysexits.h). */
enum app_exit {
    APP_EXIT_OK = 0,
    APP_EXIT_FINDINGS = 1, /* check found something, or a verb failed */
    APP_EXIT_USAGE = 64,
    APP_EXIT_CONFIG = 78,  /* run: the configuration is bad */
};

/* All of main. */
int app_main(int argc, char **argv);
/* The verb that argv names, with its output going to `out` and its complaints to `err`. Returns the exit status. */
int verbs_run(int argc, char **argv, FILE *out, FILE *err);

/*
 * `run`: loads `path`, serves until it is told to stop, and returns the exit
 * status. Complaints before the events log is open go to `err`.
 */
int app_run(const char *path, FILE *err);

#endif
