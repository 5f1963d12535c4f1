-- The request that wrk repeats, and one line of JSON at the end.
wrk.method = "POST"
wrk.body = string.rep("x", 44)

function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   print(string.format('{"requests": %d, "seconds": %f, "failed": %d}',
                       summary.requests, summary.duration / 1e6, failed))
end
