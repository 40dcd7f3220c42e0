;; Imports a function of the host as something that it is not: it must be quarantined, and never be called with the wrong types.

(component
  (import "sexton:task/log@0.1.0" (instance $log (export "write" (func (param "level" u64) (result u64)))))
  (core module $m (func (export "run") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $export (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $export)))
