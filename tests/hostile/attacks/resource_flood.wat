;; Makes resources of its own without end: it must trap, run out of fuel or end at its deadline, and the host must not grow by it.

(component
  (type $thing (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core module $m
    (func $new (import "thing" "new") (param i32) (result i32))
    (func (export "run") (result i32)
      (loop $more
        (drop (call $new (i32.const 7)))
        (br $more))
      i32.const 0))
  (core instance $i (instantiate $m (with "thing" (instance (export "new" (func $new))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $export (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $export)))
