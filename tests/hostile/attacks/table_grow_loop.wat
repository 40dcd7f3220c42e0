;; Grows a table until it gets no more, and then traps: it must end as trapped, at its limit of elements.

(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    global.get $free
    global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and
    global.set $free)
  (table $table 1 funcref)
  (func (export "sexton:task/runner@0.1.0#run")
    (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32)
    (loop $more
      (br_if $more (i32.ne (i32.const -1) (table.grow $table (ref.null func) (i32.const 1000)))))
    unreachable))
