;; Fills all the memory it may have with one instruction, again and again: it must end at its deadline, or out of fuel.

(module
  (memory (export "memory") 448) ;; pages of 64 KiB: 28 MiB
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    global.get $free
    global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and
    global.set $free)
  (func (export "sexton:task/runner@0.1.0#run")
    (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)
    (loop $for_ever
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 29360128))
      (br $for_ever))
    unreachable))
