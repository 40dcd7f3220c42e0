;; Answers, and traps in the call that says that its answer was read: it must end as trapped.

(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    global.get $free
    global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and
    global.set $free)
  (func (export "cabi_post_sexton:task/runner@0.1.0#run") (param i32) unreachable)
  (func (export "sexton:task/runner@0.1.0#run")
    (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)
    ;; zeroes: an empty output
    i32.const 8))
