# A program without the library: one loss starts all anew; all exit 0: finished.
job launch workers 2 program
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
beat w1 w2
  record
  note generation_started workers 2 world 2
+10 exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  start w1 slots 1 replace
  start w2 slots 1 replace
  record
beat w1 w2
  record
  note generation_started workers 2 world 2
  note recovered relaunch losses 1 lost 0
  record
exit w1 code 0
exit w2 code 0
  record
  shutdown
  note job_finished exit 0 steps 0
  finish 0
