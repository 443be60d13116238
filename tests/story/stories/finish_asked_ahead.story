# A snapshot was asked for long ago, at the step that turns out to be the last.  Who has not left yet
# may take its time, and then the last one is asked for anew and waited for anew.
job launch workers 2 checkpoints every 10
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
ready w1 w2
  record
  freeze 1.1
ack w1 w2
  find
found step none
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
  snapshot at 10
+9000 beat w1 w2 at 9
leave w1 at 10
+3000 beat w1 w2
+3000 beat w1 w2
+3000 beat w1 w2
leave w2 at 10
beat w1 w2 snapshot 10
  begin attempt 1 step 10
  write w2 attempt 1 step 10 part 0 of 2
  write w1 attempt 1 step 10 part 1 of 2
written w1 w2
  commit attempt 1 step 10
committed
  record
  note checkpoint_committed step 10
exit w1 w2 code 0
  record
  shutdown
  note job_finished exit 0 steps 10
  finish 0
