'use strict';
// @aws-sdk/client-cloudwatch.

const { connection, serve } = require('./lines.js');
const cloudwatch = require('@aws-sdk/client-cloudwatch');

const client = new cloudwatch.CloudWatchClient({
  endpoint: connection.endpoint,
  region: connection.region,
  credentials: { accessKeyId: connection.key, secretAccessKey: connection.secret },
});

// Times are objects in this client.
const times = (params) => {
  for (const name of ['StartTime', 'EndTime', 'StartDate', 'EndDate']) {
    if (params[name]) params[name] = new Date(params[name]);
  }
  return params;
};

serve(
  ({ name, params }) => client.send(new cloudwatch[name + 'Command'](times(params))),
  (e) => ({ code: e.Code || e.Error?.Code || e.code || e.name, status: e.$metadata && e.$metadata.httpStatusCode, message: e.message }),
);
