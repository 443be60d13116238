# It never gets as far as joining.
job launch workers 2 min 1
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
+10 exit w1 code 2
  note rank_exited w1 rank 0 exit 2
  start w1 slots 1 replace
  start w2 slots 1 replace
  record
+10 exit w1 code 2
  note rank_exited w1 rank 0 exit 2
  start w1 slots 1 replace
  start w2 slots 1 replace
  record
+10 exit w2 code 2
  note rank_exited w2 rank 1 exit 2
  record
  shutdown
  note job_finished rank 1 program exit 2 steps 0
  finish 2
