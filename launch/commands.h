/* The commands and roles of the one binary `reknit`; each returns the process's exit code. */
#ifndef RK_LAUNCH_COMMANDS_H
#define RK_LAUNCH_COMMANDS_H

int command_run(int argc, char **argv);
int command_status(int argc, char **argv);
int command_events(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_scale(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_checkpoint(int argc, char **argv); /* launch/checkpoint_command.c */
int command_doctor(int argc, char **argv);     /* launch/doctor.c */
int command_validate(int argc, char **argv);
int command_render(int argc, char **argv);
int command_submit(int argc, char **argv);      /* launch/submit */
int command_operator(int argc, char **argv);    /* launch/operator */
int command_pods(int argc, char **argv);        /* launch/pods */
int command_coordinator(int argc, char **argv); /* coordinator/coordinator.c */
int command_worker(int argc, char **argv);      /* worker/agent */

#endif
