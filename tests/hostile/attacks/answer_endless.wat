;; Answers with an output of 2 GiB that its memory does not have: it must end as trapped, and the host must not make room for it.

(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    global.get $free
    global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and
    global.set $free)
  (data (i32.const 24) "\00\00\00\00\ff\ff\ff\7f") ;; the output: at 0, 2^31 - 1 bytes
  (func (export "sexton:task/runner@0.1.0#run")
    (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)
    i32.const 8))
