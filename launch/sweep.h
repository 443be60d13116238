/* Removes folders of ours with all that is in them, and never anything beside them: no symbolic
 * link is followed, no mount is entered. */
#ifndef RK_LAUNCH_SWEEP_H
#define RK_LAUNCH_SWEEP_H

/* Empties the folder `path` except for the entry `keep` (NULL: none).  0, or -1 when something
 * stayed. */
int sweep_contents(const char *path, const char *keep);
/* Removes the folder of a job, whose lock file (PATH/lock) the caller holds: the lock goes last.
 * Removes the folder above too when that is empty then and `parent` is not NULL. */
void sweep_job(const char *path, const char *parent);

#endif
