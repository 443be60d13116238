# A program without the library: losses that come while all are told to start anew share the next start.
job launch workers 3 program
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
hello w3 ticket 11
  welcome w3
  note worker_joined w3
  start w3 slots 1
  start w1 slots 1
  start w2 slots 1
beat w1 w2 w3
  record
  note generation_started workers 3 world 3
+10 exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  start w1 slots 1 replace
  start w2 slots 1 replace
  start w3 slots 1 replace
  record
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  record
exit w3 signal 9
  note rank_exited w3 rank 2 signal 9
+1 tick
  start w1 slots 1 replace
  start w2 slots 1 replace
  start w3 slots 1 replace
beat w1 w2 w3
  record
  note generation_started workers 3 world 3
  note recovered relaunch losses 3 lost 0
  record
