;; Loops for ever in the destructor of a resource of its own: it must end at its deadline.

(component
  (core module $d
    (func (export "destroy") (param i32) (loop $for_ever (br $for_ever))))
  (core instance $d (instantiate $d))
  (type $thing (resource (rep i32) (dtor (func $d "destroy"))))
  (core func $new (canon resource.new $thing))
  (core func $drop (canon resource.drop $thing))
  (core module $m
    (func $new (import "thing" "new") (param i32) (result i32))
    (func $drop (import "thing" "drop") (param i32))
    (func (export "run") (result i32)
      (call $drop (call $new (i32.const 7)))
      i32.const 0))
  (core instance $i (instantiate $m
    (with "thing" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $export (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $export)))
