'use strict';
// @aws-sdk/credential-providers, and EC2 calls that are signed with what it
// finds: {"endpoint", "region"}, and AWS_EC2_METADATA_SERVICE_ENDPOINT. Each
// call fetches credentials anew.

const { connection, serve } = require('./lines.js');
const ec2 = require('@aws-sdk/client-ec2');
const { fromInstanceMetadata } = require('@aws-sdk/credential-providers');

serve(
  async ({ name, params }) => {
    const credentials = fromInstanceMetadata({ timeout: 5000, maxRetries: 0, ec2MetadataV1Disabled: true });
    if (name === 'credentials') {
      const k = await credentials();
      return { AccessKeyId: k.accessKeyId, Expiration: k.expiration, SessionToken: k.sessionToken, SecretAccessKey: k.secretAccessKey };
    }
    const client = new ec2.EC2Client({ endpoint: connection.endpoint, region: connection.region, credentials, maxAttempts: 1 });
    return client.send(new ec2[name + 'Command'](params));
  },
  (e) => ({ code: e.Code || e.code || e.name, status: e.$metadata && e.$metadata.httpStatusCode, message: e.message }),
);
