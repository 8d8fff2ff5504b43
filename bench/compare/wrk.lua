-- A request of one method, and figures in a form that a program reads:
-- answers, errors of connections, answers with status 400 and above.

function init(args)
  wrk.method = args[1]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("figures %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout, e.status))
end
