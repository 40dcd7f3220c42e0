;; Answers with a media type that is not UTF-8: it must end as trapped.

(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    global.get $free
    global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and
    global.set $free)
  (data (i32.const 12) "\01\00\00\00\40\00\00\00\02\00\00\00") ;; the media type: at 64, two bytes
  (data (i32.const 64) "\ff\fe")
  (func (export "sexton:task/runner@0.1.0#run")
    (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)
    i32.const 8))
