// The AWS SDK for JavaScript: a listing and an object, by one client with its own chain of credentials.
// Arguments: the folder of node_modules, bucket, key.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [packages, bucket, key] = process.argv.slice(2);
const { S3Client, ListObjectsV2Command, GetObjectCommand } = createRequire(pathToFileURL(`${packages}/`))('@aws-sdk/client-s3');
const folder = key.slice(0, key.lastIndexOf('/') + 1);
const s3 = new S3Client({});

let over = false;
createInterface({ input: process.stdin }).once('line', () => { over = true; }).once('close', () => { over = true; });

async function read() {
  const { Contents: found } = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: folder }));
  if (!found.some((one) => one.Key === key)) throw new Error('the object is not listed');
  const { Body: body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  if (!(await body.transformToString())) throw new Error('the object is empty');
}

while (!over) {
  const said = await read().then(() => ({ ok: true }), (failure) => ({ ok: false, error: `${failure}`.slice(0, 600) }));
  console.log(JSON.stringify(said));
  await setTimeout(250);
}
process.exit(0);
